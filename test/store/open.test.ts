import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { StoreError, UsageError } from "../../src/errors.ts";
import { openStore } from "../../src/store/open.ts";
import { connectS3 } from "../../src/store/s3/client.ts";
import { rejection } from "../kit/rejection.ts";
import { bytes } from "../kit/store_contract.ts";
import { withEnv } from "../kit/s3_connection.ts";

const options = { onRetry: (line: string) => expect(line).toBe("") };

describe("openStore()", () => {
  test("opens a directory when it is given a path or a file URL", async () => {
    const folder = await mkdtemp(join(tmpdir(), "varve-open-"));
    await (await openStore(`${folder}/a b`, options)).put("k", bytes("x"));
    expect(await (await openStore(`file://${folder}/a%20b`, options)).get("k")).toEqual(bytes("x"));
    expect((await openStore("relative", options)).url).toBe(resolve("relative"));
    await rm(folder, { recursive: true });
  });
  test("makes nothing when it only opens", async () => {
    const path = join(tmpdir(), `varve-none-${crypto.randomUUID()}`);
    expect(await (await openStore(path, options)).head("a")).toBeUndefined();
    expect(await Bun.file(path).exists()).toBe(false);
  });
  test("opens a bucket with or without a prefix", async () => {
    await withEnv({}, async () => {
      expect((await openStore("s3://my-bucket", options)).url).toBe("s3://my-bucket");
      expect((await openStore("s3://my-bucket/", options)).url).toBe("s3://my-bucket");
      expect((await openStore("s3://my-bucket/a/b/", options)).url).toBe("s3://my-bucket/a/b");
    });
  });
  test.each([
    "",
    "s3://",
    "s3://a",
    "s3:bucket",
    "s3://key:hush@bucket/a",
    "s3://bucket?x",
    "s3://bucket/../a",
  ])(
    "throws UsageError without telling a secret when the URL is %p",
    async (url) => {
      const error = await rejection(openStore(url, options));
      expect(error).toBeInstanceOf(UsageError);
      expect((error as Error).message).not.toContain("hush");
    },
  );
  test.each(["a", "ab", "-abc", "abc-", "a".repeat(64)])(
    "says what a bucket may be called when it is %p",
    async (name) => {
      const error = await rejection(openStore(`s3://${name}/prefix`, options));
      expect(error).toBeInstanceOf(UsageError);
      expect((error as Error).message).toStartWith(
        `Cannot open the store: "${name}" is not a valid bucket name; `,
      );
    },
  );
  test.each(["gs://bucket", "http://host/", "file://host/a"])(
    "throws UsageError when it is %p",
    async (url) => {
      expect(await rejection(openStore(url, options))).toBeInstanceOf(UsageError);
    },
  );
  test("throws UsageError when the endpoint is no address", async () => {
    for (const s3Endpoint of ["minio:9000", "ftp://host", "http//host"]) {
      const error = await rejection(openStore("s3://bucket", { ...options, s3Endpoint }));
      expect(error).toBeInstanceOf(UsageError);
    }
  });
  test("the store says what to set when there are no credentials", async () => {
    const error = await withEnv({ AWS_ENDPOINT_URL_S3: "http://127.0.0.1:9" }, async () => {
      return await rejection((await openStore("s3://bucket", options)).get("a"));
    });
    expect(error).toBeInstanceOf(StoreError);
    expect((error as Error).message).toBe(
      'Cannot read "s3://bucket/a": no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile',
    );
  });
});

describe("connectS3()", () => {
  const settings = (env: Record<string, string>, endpoint?: string) =>
    withEnv(env, async () => {
      const { client, peer: { host, isAws } } = await connectS3({ endpoint });
      return { region: await client.config.region(), host, isAws, pathStyle: client.config.forcePathStyle };
    });

  test("takes region and endpoint from the environment when they are set", async () => {
    const env = { AWS_REGION: "eu-central-1", AWS_ENDPOINT_URL_S3: "https://s3.example.com:9000" };
    expect(await settings(env)).toEqual({
      region: "eu-central-1",
      host: "s3.example.com:9000",
      isAws: false,
      pathStyle: true,
    });
    expect((await settings(env, "http://other")).host).toBe("other");
  });
  test("falls back to a region and to AWS itself when nothing is set", async () => {
    expect(await settings({})).toEqual({
      region: "us-east-1",
      host: "s3.us-east-1.amazonaws.com",
      isAws: true,
      pathStyle: false,
    });
    expect((await settings({ AWS_DEFAULT_REGION: "eu-west-1" })).region).toBe("eu-west-1");
  });
  test("sends the SDK's checksums only where the environment or the profile asks for them", async () => {
    const path = join(tmpdir(), `varve-aws-${crypto.randomUUID()}`);
    await Bun.write(path, "[profile sums]\nrequest_checksum_calculation = when_supported\n");
    const checksums = (env: Record<string, string>) =>
      withEnv(env, async () => {
        const { config } = (await connectS3()).client;
        return [await config.requestChecksumCalculation(), await config.responseChecksumValidation()];
      });
    expect(await checksums({})).toEqual(["WHEN_REQUIRED", "WHEN_REQUIRED"]);
    expect(await checksums({ AWS_REQUEST_CHECKSUM_CALCULATION: "when_supported" }))
      .toEqual(["WHEN_SUPPORTED", "WHEN_REQUIRED"]);
    expect(await checksums({ AWS_RESPONSE_CHECKSUM_VALIDATION: "when_supported" }))
      .toEqual(["WHEN_REQUIRED", "WHEN_SUPPORTED"]);
    expect(await checksums({ AWS_CONFIG_FILE: path, AWS_PROFILE: "sums" }))
      .toEqual(["WHEN_SUPPORTED", "WHEN_REQUIRED"]);
    await rm(path);
  });
  test("takes all of it from a profile when one is set", async () => {
    const path = join(tmpdir(), `varve-aws-${crypto.randomUUID()}`);
    await Bun.write(
      path,
      "[profile backup]\nregion = eu-north-1\nendpoint_url = http://10.0.0.1:7480\n" +
        "aws_access_key_id = AKEXAMPLE\naws_secret_access_key = hush\n",
    );
    expect(await settings({ AWS_CONFIG_FILE: path, AWS_PROFILE: "backup" })).toEqual({
      region: "eu-north-1",
      host: "10.0.0.1:7480",
      isAws: false,
      pathStyle: true,
    });
    await rm(path);
  });
});
