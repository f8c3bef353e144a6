/**
 * How the built program finds its way to an S3 store: endpoint, address, region, certificates, proxies, credentials. The
 * servers are stand-ins that know no access key; what reached them, and what the operator is told, is looked at.
 *
 * The certificate in test/fixtures/tls is its own authority, for 127.0.0.1:
 * `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout key.pem -out cert.pem -days 36500 -nodes
 * -subj "/CN=varve test" -addext "subjectAltName=IP:127.0.0.1"`
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { startMinio } from "../kit/minio.ts";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { awsEnv, type S3Server } from "../kit/s3_server.ts";
import { varve } from "../kit/varve.ts";
import { scratchFolder } from "../kit/scratch.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/tls");
const CERTIFICATE = join(FIXTURES, "cert.pem");
/** Nobody listens there. */
const NOWHERE = "127.0.0.1:1";
/** What a stand-in answers: who gets that far is where he should be. */
const REACHED = /the access key is unknown to the store \(403 InvalidAccessKeyId\)/;

describe("varve on its way to S3", () => {
  const folder = scratchFolder();
  /** `METHOD URL` of each request, as the server or proxy got it. */
  let seen: string[];
  let plain: Bun.Server<undefined>;
  let secure: Bun.Server<undefined>;

  beforeAll(() => {
    plain = serve({});
    secure = serve({
      tls: { cert: readFileSync(CERTIFICATE, "utf8"), key: readFileSync(join(FIXTURES, "key.pem"), "utf8") },
    });
  });
  beforeEach(() => void (seen = []));
  afterAll(async () => {
    await plain?.stop(true);
    await secure?.stop(true);
  });

  function serve(options: { tls?: { cert: string; key: string } }): Bun.Server<undefined> {
    return Bun.serve({
      ...options,
      port: 0,
      hostname: "127.0.0.1",
      fetch({ method, url }) {
        seen.push(`${method} ${url.replace(/\?.*/, "")}`);
        return new Response("<Error><Code>InvalidAccessKeyId</Code><Message>no</Message></Error>", {
          status: 403,
        });
      },
    });
  }

  const keys = { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "hush" };
  const list = async (env: Record<string, string>, args: string[] = []) => {
    const settings = { VARVE_REPO: "s3://bucket/repository", AWS_EC2_METADATA_DISABLED: "true", ...env };
    return await varve(["list", ...args], { env: settings });
  };
  /** A run that has to end at once with one line. */
  const expectLine = async (env: Record<string, string>, line: RegExp | string, args?: string[]) => {
    const result = await list(env, args);
    expectOneLine(result, { code: 1, line });
    expect(result.stderr).not.toContain("hush");
  };
  const profile = async (name: string, lines: string[]) => {
    const path = join(folder, `config-${crypto.randomUUID()}`);
    await writeFile(path, `[profile ${name}]\n${lines.join("\n")}\n`);
    return { AWS_CONFIG_FILE: path, AWS_SHARED_CREDENTIALS_FILE: "/dev/null" };
  };
  const keysOfProfile = ["aws_access_key_id = key", "aws_secret_access_key = hush"];

  describe("addresses the bucket", () => {
    /** The server's name exists only for the proxy. */
    const remote = () => ({
      ...keys,
      AWS_ENDPOINT_URL_S3: "http://s3.example.test",
      HTTP_PROXY: plain.url.href,
    });
    const inPath = ["GET http://s3.example.test/bucket/repository/varve.json"];
    const inHost = ["GET http://bucket.s3.example.test/repository/varve.json"];

    test("in the path at an endpoint, unless the option or the profile says otherwise", async () => {
      await expectLine(remote(), REACHED);
      expect(seen.splice(0)).toEqual(inPath);
      await expectLine(remote(), REACHED, ["--s3-addressing", "virtual"]);
      expect(seen.splice(0)).toEqual(inHost);
      const virtual = await profile("p", [...keysOfProfile, "s3 =", "  addressing_style = virtual"]);
      await expectLine({ ...remote(), ...virtual, AWS_PROFILE: "p" }, REACHED);
      expect(seen.splice(0)).toEqual(inHost);
      await expectLine({ ...remote(), ...virtual, AWS_PROFILE: "p", VARVE_S3_ADDRESSING: "path" }, REACHED);
      expect(seen.splice(0)).toEqual(inPath);
    });
    test("in front of the host where the store knows nothing else", async () => {
      await expectLine({ ...remote(), AWS_ENDPOINT_URL_S3: "http://oss-cn-hangzhou.aliyuncs.com" }, REACHED);
      expect(seen).toEqual(["GET http://bucket.oss-cn-hangzhou.aliyuncs.com/repository/varve.json"]);
    });
  });

  describe("trusts certificates", () => {
    const remote = () => ({ ...keys, AWS_ENDPOINT_URL_S3: secure.url.href });

    test("of AWS_CA_BUNDLE and of the profile's ca_bundle, and no other", async () => {
      await expectLine(
        remote(),
        /the certificate of "127\.0\.0\.1:\d+" is not trusted: .*SELF_SIGNED_CERT.*AWS_CA_BUNDLE/,
      );
      expect(seen).toEqual([]);
      await expectLine({ ...remote(), AWS_CA_BUNDLE: CERTIFICATE }, REACHED);
      const bundle = await profile("p", [...keysOfProfile, `ca_bundle = ${CERTIFICATE}`]);
      await expectLine({ ...remote(), ...bundle, AWS_PROFILE: "p" }, REACHED);
      expect(seen).toHaveLength(2);
    });
    test("and says which file of them is not there, or has none", async () => {
      for (
        const [path, says] of [["/none", "no such file"], [
          "/dev/null",
          "it has no certificate in PEM format",
        ]] as const
      ) {
        const line = `Cannot read the certificates "${path}" (AWS_CA_BUNDLE or ca_bundle): ${says}`;
        expectOneLine(await list({ ...remote(), AWS_CA_BUNDLE: path }), { code: 2, line });
      }
    });
    test("without a check only aloud", async () => {
      const { stderr } = await list({ ...remote(), NODE_TLS_REJECT_UNAUTHORIZED: "0" });
      expect(stderr.match(/NODE_TLS_REJECT_UNAUTHORIZED=0 is set/g)).toHaveLength(1);
      expect(stderr).toMatch(REACHED);
    });
    test("and tells a server that speaks no TLS", async () => {
      const { host } = plain.url;
      const line = `"${host}" does not speak TLS (EPROTO); its address may be http://${host}`;
      await expectLine({ ...keys, AWS_ENDPOINT_URL_S3: `https://${host}` }, line);
    });
    test("and tells a server that speaks nothing else", async () => {
      const text = "Client sent an HTTP request to an HTTPS server.\n";
      const server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: () => new Response(text, { status: 400 }),
      });
      await expectLine({ ...keys, AWS_ENDPOINT_URL_S3: server.url.href }, /"127\S+" needs TLS; .*https:\/\//);
      await server.stop(true);
    });
  });

  describe("goes through a proxy", () => {
    const remote = { ...keys, AWS_ENDPOINT_URL_S3: "http://s3.example.test", VARVE_RETRY_FOR: "1s" };

    test("unless NO_PROXY has the host", async () => {
      const env = {
        ...keys,
        AWS_ENDPOINT_URL_S3: plain.url.href,
        HTTP_PROXY: `http://${NOWHERE}`,
        VARVE_RETRY_FOR: "1s",
      };
      await expectLine(
        env,
        `no connection to "${plain.url.host}" through the proxy "${NOWHERE}" (HTTP_PROXY)`,
      );
      for (const exempt of ["127.0.0.1", plain.url.host, "a.test, 127.0.0.1", "*"]) {
        await expectLine({ ...env, NO_PROXY: exempt }, REACHED);
      }
    });
    test("and names it, without its password, when it cannot be reached", async () => {
      const line =
        `no connection to "s3.example.test" through the proxy "${NOWHERE}" (http_proxy) (ECONNREFUSED)`;
      await expectLine({ ...remote, http_proxy: `http://user:hush@${NOWHERE}` }, line);
    });
    test("and names it when it wants a password, or refuses", async () => {
      const proxy = (status: number) =>
        Bun.serve({ port: 0, fetch: () => new Response("<html>no</html>", { status }) });
      const [locked, closed] = [proxy(407), proxy(403)];
      const named = ({ url }: Bun.Server<undefined>, variable: string) =>
        `the proxy "${url.host}" (${variable})`;
      await expectLine(
        { ...remote, HTTP_PROXY: locked.url.href },
        `${named(locked, "HTTP_PROXY")} requires a password (407)`,
      );
      await expectLine(
        { ...remote, HTTP_PROXY: closed.url.href },
        `through ${named(closed, "HTTP_PROXY")} is not usable`,
      );
      const tls = { ...remote, AWS_ENDPOINT_URL_S3: "https://s3.example.test", HTTPS_PROXY: closed.url.href };
      const line = `"s3.example.test" through ${
        named(closed, "HTTPS_PROXY")
      } refused the connection (403 Forbidden)`;
      await expectLine(tls, line);
      await Promise.all([locked.stop(true), closed.stop(true)]);
    });
  });

  describe("has credentials", () => {
    const remote = () => ({ AWS_ENDPOINT_URL_S3: plain.url.href });

    test("of a profile that is there, or says where it is not", async () => {
      const files = await profile("there", keysOfProfile);
      await expectLine({ ...remote(), ...files, AWS_PROFILE: "there" }, REACHED);
      const line = `profile "nosuch" is not in "${files.AWS_CONFIG_FILE}" or "/dev/null"`;
      await expectLine({ ...remote(), ...keys, ...files, AWS_PROFILE: "nosuch" }, line);
    });
    test("of a process, or says what it said", async () => {
      const give = `printf '{"Version":1,"AccessKeyId":"key","SecretAccessKey":"hush"}'`;
      const good = await profile("good", [`credential_process = ${give}`]);
      await expectLine({ ...remote(), ...good, AWS_PROFILE: "good" }, REACHED);
      const bad = await profile("bad", ["credential_process = sh -c 'echo the vault is sealed >&2; exit 3'"]);
      const line = /the credential_process of profile "bad" failed: the vault is sealed\n$/;
      await expectLine({ ...remote(), ...bad, AWS_PROFILE: "bad" }, line);
      const path = join(folder, "config-default");
      await writeFile(path, "[default]\ncredential_process = false\n");
      await expectLine(
        { ...remote(), AWS_CONFIG_FILE: path },
        'of profile "default" failed: no reason given',
      );
    });
    test("of a process, which finds no secret of varve's in its environment", async () => {
      const seen = join(folder, "seen");
      const give = `env >"${seen}"; printf '{"Version":1,"AccessKeyId":"key","SecretAccessKey":"hush"}'`;
      const files = await profile("looking", [
        `credential_process = sh -c '${give.replaceAll("'", "'\\''")}'`,
      ]);
      const secrets = { VARVE_PASSPHRASE: "open sesame" };
      await expectLine({ ...remote(), ...files, ...secrets, AWS_PROFILE: "looking" }, REACHED);
      const names = (await readFile(seen, "utf8")).split("\n").map((line) => line.split("=")[0]!);
      expect(names).toContain("AWS_PROFILE");
      expect(names.filter((name) => name.startsWith("VARVE_"))).toEqual([]);
    });
    test("of a token file, or says which one is not there", async () => {
      const env = {
        AWS_WEB_IDENTITY_TOKEN_FILE: "/no/token",
        AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/r",
      };
      await expectLine(
        { ...remote(), ...env },
        'cannot read the credentials from "/no/token" (AWS_WEB_IDENTITY_TOKEN_FILE)',
      );
    });
    test("of the environment, or says what is missing there", async () => {
      await expectLine({ ...remote(), ...keys }, REACHED);
      await expectLine(
        { ...remote(), AWS_ACCESS_KEY_ID: "key" },
        "no credentials: AWS_SECRET_ACCESS_KEY is not set",
      );
      await expectLine(
        remote(),
        "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile",
      );
    });
    test("and asks no other machine for anything when an endpoint is set", async () => {
      const env = {
        ...remote(),
        ...keys,
        AWS_EC2_METADATA_SERVICE_ENDPOINT: plain.url.href,
        AWS_EC2_METADATA_DISABLED: "",
      };
      const p = await profile("p", [...keysOfProfile, "defaults_mode = auto"]);
      for (const more of [{}, { AWS_DEFAULTS_MODE: "auto" }, { ...p, AWS_PROFILE: "p" }]) {
        await expectLine({ ...env, ...more }, REACHED);
        expect(seen.splice(0)).toEqual([`GET ${plain.url.href}bucket/repository/varve.json`]);
      }
    });
  });
});

describeWith(
  ["MinIO"],
  "varve through a proxy, and a server whose certificate a file of one's own vouches for,",
  () => {
    test("backs up and restores", async () => {
      const minio = await startMinio();
      const tls = { cert: readFileSync(CERTIFICATE), key: readFileSync(join(FIXTURES, "key.pem")) };
      const server = await listen(
        https.createServer(tls, (request, response) => forward(request, response, minio)),
      );
      let tunnels = 0;
      const proxy = await listen(
        http.createServer().on("connect", ({ url = "" }, client) => {
          tunnels++;
          const [host, port] = url.split(":");
          const onward = connect(Number(port), host, () => client.write("HTTP/1.1 200 Connected\r\n\r\n"));
          for (const [from, to] of [[client, onward], [onward, client]] as const) {
            from.on("error", () => to.destroy()).pipe(to);
          }
        }),
      );
      const env = {
        ...awsEnv({ ...minio, endpoint: `https://127.0.0.1:${server.port}` }),
        AWS_CA_BUNDLE: CERTIFICATE,
        HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
      };
      const repository = await TestRepository.make({ url: `s3://${minio.bucket}/repository`, env });
      await repository.backUp("acme/vm1", noise(8 * CHUNK_BYTES, "through a proxy"));
      await repository.expectIntact();
      expect(tunnels).toBeGreaterThan(0);
      for (const { stop } of [server, proxy]) stop();
      await repository.remove();
      await minio.stop();
    }, RUN_LIMIT_MS);
  },
);

async function listen(server: http.Server): Promise<{ port: number; stop: () => void }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return { port: (server.address() as AddressInfo).port, stop };
}

/** Hands the request on as it is: what is signed stays so. */
function forward(request: http.IncomingMessage, response: http.ServerResponse, { endpoint }: S3Server): void {
  const { hostname: host, port } = new URL(endpoint);
  const { method, url: path, headers } = request;
  const onward = http.request({ host, port, method, path, headers }, (answer) => {
    response.writeHead(answer.statusCode!, answer.headers);
    answer.pipe(response);
  });
  request.pipe(onward);
}
