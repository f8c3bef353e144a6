/** Every command once, from the words to the exit code, on a repository in a directory. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { run } from "../kit/loop_device.ts";
import { type RunOptions, VARVE, varve } from "../kit/varve_from_source.ts";

const VOLUME_BYTES = 9 * 1024 * 1024 + 123;
const BEGINNING = "rbd diff v1\n";
/** A page of three entries is smaller, a chunk with its leaves is larger. */
const PAGE_BYTES = 1024;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "varve-cli-"));
const volume = path.join(folder, "volume.img");
const repo = path.join(folder, "repository");
const env = {
  XDG_DATA_HOME: path.join(folder, "data"),
  XDG_CACHE_HOME: path.join(folder, "cache"),
  XDG_STATE_HOME: path.join(folder, "state"),
  VARVE_REPO: repo,
};

beforeAll(() => {
  fs.writeFileSync(volume, Buffer.alloc(VOLUME_BYTES, "varve ").fill(0, 4 << 20, 8 << 20));
  varve(["init", "acme", "--no-encryption"], { env });
  varve(["backup", "acme/disk", volume, "--format", "raw", "--tag", "first", "--tag", "nightly"], { env });
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

function json(args: string[], options: RunOptions = {}) {
  const { code, stdout, stderr } = varve([...args, "--json"], { env, ...options });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

describe("varve init", () => {
  test("init makes a repository with the chunk size that was asked for", () => {
    const there = path.join(folder, "other");
    const made = json(["init", "acme", "--no-encryption", "--repo", there, "--chunk-size", "1M"]);
    expect(made).toEqual({
      repository: expect.stringMatching(/^[0-9a-f]{32}$/),
      url: there,
      chunk_size_bytes: 1 << 20,
      projects: [{ project: "acme", encryption: "none" }],
    });
    json(["backup", "acme/disk", volume, "--format", "raw", "--repo", there]);
    expect(json(["show", "acme/disk", "--repo", there]).chunks.total).toBe(10);
  });

  test.each([[[]], [["acme", "--no-encryption"]]])(
    "init exits with 11 when there is one already: %p",
    (words) => {
      expect(varve(["init", ...words], { env })).toMatchObject({
        code: 11,
        stdout: "",
        stderr: expect.stringContaining("already"),
      });
    },
  );
});

describe("varve backup", () => {
  test("--check-sample is a mistake where the source is read only once, and nothing is made", () => {
    const input = fs.readFileSync(volume);
    expect(varve(["backup", "other/piped", "--format", "raw", "--check-sample", "1/9"], { env, input }))
      .toMatchObject({
        code: 2,
        stderr: expect.stringMatching(
          /^varve: Cannot compare a sample with "standard input": .* rbd:POOL\/IMAGE@SNAP /,
        ),
      });
    expect(varve(["list", "other"], { env })).toMatchObject({ code: 4 });
  });

  test("backup prints one document when JSON is asked for", () => {
    const input = fs.readFileSync(volume);
    expect(json(["backup", "acme/piped", "-", "--format", "raw"], { input })).toEqual({
      ...{
        backup: expect.any(String),
        project: "acme",
        volume: "piped",
        from_snapshot: null,
        to_snapshot: null,
        ...{ source_id: null, source_snapshot_id: null, from_snapshot_id: null, base: null },
      },
      ...{ size_bytes: VOLUME_BYTES, stream_bytes: VOLUME_BYTES, uploaded_bytes: expect.any(Number) },
      chunks: {
        ...{ total: 3, changed: 3, zero: 1, new: expect.any(Number) },
        ...{ patched: expect.any(Number), reused: expect.any(Number) },
      },
      downloaded_bytes: expect.any(Number),
      checked_chunks: 0,
      duration_s: expect.any(Number),
    });
  });

  test("backup runs the producer when --exec is given, options of its own included", () => {
    const args = [
      "backup",
      "acme/produced",
      "--format",
      "raw",
      "--json",
      "--exec",
      "--",
      "head",
      "-c",
      "5",
      volume,
    ];
    const report = JSON.parse(varve(args, { env }).stdout);
    expect(report.size_bytes).toBe(5);
  });

  test("backup fails and commits nothing when the producer fails", () => {
    const failing = [
      "backup",
      "acme/failing",
      "--format",
      "raw",
      "--exec",
      "--",
      "sh",
      "-c",
      "echo x; echo why >&2; exit 7",
    ];
    const { code, stdout, stderr } = varve(failing, { env });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^why\nvarve: Cannot [^\n]*7[^\n]*\n$/);
    expect(varve(["list", "acme/failing"], { env }).code).toBe(4);
  });

  test("backup goes to the default repository only when init has made it, and makes no other", () => {
    const { VARVE_REPO: _, ...unnamed } = env;
    const args = ["backup", "acme/disk", volume, "--format", "raw"];
    const refused = varve(args, { env: unnamed });
    expect(refused.code).toBe(10);
    expect(refused.stderr).toContain("name another with --repo or VARVE_REPO");
    expect(fs.existsSync(env.XDG_DATA_HOME)).toBe(false);
    expect(varve(["init", "acme", "--no-encryption"], { env: unnamed }).code).toBe(0);
    expect(varve(args, { env: unnamed })).toEqual({ code: 0, stdout: "", stderr: "" });
    const { code, stderr } = varve(args, { env: { ...env, VARVE_REPO: path.join(folder, "mistyped") } });
    expect(code).toBe(10);
    expect(stderr).toContain(`it does not exist; nearby: "${path.join(folder, "other")}", "${repo}"\n`);
    expect(fs.existsSync(path.join(folder, "mistyped"))).toBe(false);
  });

  test("backup and all others exit with 13 when the secret is another", () => {
    const sealed = { ...env, VARVE_PASSPHRASE: "correct horse" };
    expect(varve(["init", "sealed"], { env: sealed }).code).toBe(0);
    expect(varve(["backup", "sealed/disk", volume, "--format", "raw"], { env: sealed }).code).toBe(0);
    expect(varve(["list", "sealed"], { env: sealed }).code).toBe(0);
    expect(varve(["list", "sealed"], { env: { ...env, VARVE_PASSPHRASE: "battery" } }).code).toBe(13);
    expect(varve(["show", "sealed/disk"], { env }).code).toBe(13);
  });
});

describe("varve restore", () => {
  test("restore writes the volume when it goes to a file", () => {
    const to = path.join(folder, "restored.img");
    const report = json(["restore", "acme/disk", "--to", to]);
    expect(report).toMatchObject({ size_bytes: VOLUME_BYTES, damaged: [], chunks: { total: 3 } });
    expect(fs.readFileSync(to).equals(fs.readFileSync(volume))).toBe(true);
    expect(json(["restore", "acme/disk", "--to", to])).toMatchObject({
      written_bytes: 0,
      downloaded_bytes: 0,
    });
  });

  test("restore exits with 3 and names every damaged position when a chunk was changed", () => {
    const damaged = path.join(folder, "damaged");
    fs.cpSync(repo, damaged, { recursive: true });
    const chunks = path.join(damaged, "projects", "acme", "chunks");
    for (const name of fs.readdirSync(chunks, { recursive: true, encoding: "utf8" })) {
      const file = path.join(chunks, name);
      if (fs.statSync(file).isFile() && fs.statSync(file).size > PAGE_BYTES) flipLastBit(file);
    }
    const args = ["restore", "acme/disk", "--to", path.join(folder, "bad.img"), "--keep-going"];
    const { code, stderr } = varve(args, { env: { ...env, VARVE_REPO: damaged } });
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /^damaged: offset 0, 4194304 bytes, [^:]+: .+\ndamaged: offset 8388608, 1048699 bytes, /,
    );
    expect(stderr).toMatch(
      /\nvarve: Cannot restore all of "acme\/disk": 2 chunks are damaged; "[^"]+bad.img" is incomplete\n$/,
    );
  });
});

describe("varve list and show", () => {
  test("list prints a table for people, and an array for scripts", () => {
    const { code, stdout } = varve(["list", "acme/disk"], { env });
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^ {2}TIME +ID +KIND +ADDED +AGE +SIZE +NOTES\nacme\/disk, not encrypted\n {2}[-\d]{10} [:\d]{5}Z {2}[0-9a-f]{8} {2}full +\+\S+ \S+ +\d+[sm] {2}9\.00 MiB {2}first,nightly\n$/,
    );
    expect(json(["list", "acme/disk"])).toMatchObject([{
      volume: "disk",
      size_bytes: VOLUME_BYTES,
      tags: ["first", "nightly"],
    }]);
  });

  test("list prints nothing when its reader has gone", () => {
    const command = `${VARVE.join(" ")} list acme/disk | true; exit \${PIPESTATUS[0]}`;
    expect(run(["env", `VARVE_REPO=${repo}`, "bash", "-c", command])).toBe("");
  });

  test("show prints no control character, whatever was given as a reason", () => {
    varve(["hold", "acme/disk@latest", "--reason", "a\u001b[31m\u0007b"], { env });
    const { stdout } = varve(["show", "acme/disk"], { env });
    varve(["release", "acme/disk@latest"], { env });
    expect(stdout).toMatch(/^Held +yes: a\\x1b\[31m\\x07b$/m);
  });

  test("hold says which reason it replaces", () => {
    expect(varve(["hold", "acme/disk@latest", "--reason", "a"], { env }).stderr).toBe("");
    expect(varve(["hold", "acme/disk@latest", "--reason", "b"], { env }).stderr).toMatch(
      /^acme\/disk@\S+: the former reason was "a"\n$/,
    );
    varve(["release", "acme/disk@latest"], { env });
  });

  test("what cannot name a repository is said with the option or variable that gave it", () => {
    const cases: [VARVE_REPO: string, args: string[], line: string][] = [
      ["", ["list"], "Cannot open the store of VARVE_REPO: its path is empty"],
      [
        "s3:/x/y",
        ["list"],
        'Cannot open the store of VARVE_REPO: an S3 store is written "s3://bucket/prefix"',
      ],
      ["", ["list", "--repo", "s3:x"], 'Cannot open the store of --repo: an S3 store is written "s3:'],
      [repo, ["copy", "acme", "--to", ""], "Cannot open the store of --to: its path is empty"],
      [
        repo,
        ["repair", "acme", "--from-repo", ""],
        "Cannot open the store of --from-repo: its path is empty",
      ],
      [
        repo,
        ["gc", "acme/disk"],
        'Cannot use "acme/disk" as a project: expected a project without a volume, so no "/"',
      ],
    ];
    for (const [VARVE_REPO, args, line] of cases) {
      const { code, stderr } = varve(args, { env: { ...env, VARVE_REPO } });
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(`varve: ${line}`) });
    }
  });

  test("a source that cannot be opened is a line without the runtime's own words", () => {
    for (
      const args of [["verify", "acme/disk", "--source"], ["repair", "acme", "--source"], [
        "backup",
        "acme/x",
      ]]
    ) {
      for (
        const [path, why] of [["/none", "no such file or directory (ENOENT)"], [
          `${volume}/x`,
          "not a directory (ENOTDIR)",
        ]]
      ) {
        const { code, stderr } = varve([...args, path!], { env });
        const wanted = args[0] === "repair" ? [0, ""] : [1, `varve: Cannot open "${path}": ${why}\n`];
        expect([code, stderr]).toEqual(wanted as [number, string]);
      }
    }
  });

  test("the time that a backup took begins before its source does", () => {
    const producer = ["--exec", "--", "sh", "-c", "sleep 1; echo x"];
    const { stdout } = varve(["--json", "backup", "acme/slow", "--format", "raw", ...producer], { env });
    const made = JSON.parse(stdout);
    expect(made.duration_s).toBeGreaterThanOrEqual(1);
    expect(Number.isInteger(json(["show", "acme/slow"]).lease_ms)).toBe(true);
  });

  test("show prints one field when it is asked for", () => {
    const field = (name: string) => varve(["show", "acme/disk", "--field", name], { env });
    expect(field("size_bytes").stdout).toBe(`${VOLUME_BYTES}\n`);
    expect(field("tags").stdout).toBe('["first","nightly"]\n');
    expect(field("to_snapshot").stdout).toBe("\n");
    expect(field("nonsense")).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining("to_snapshot"),
    });
  });

  test("show prints a snapshot's name byte for byte when it is not UTF-8", () => {
    const name = Buffer.from("a\xff\nb", "latin1");
    const text = Buffer.concat([
      Buffer.from(`${BEGINNING}t`),
      le(4, name.length),
      name,
      Buffer.from("s"),
      le(8, 0),
      Buffer.from("e"),
    ]);
    expect(varve(["backup", "acme/odd"], { env, input: text }).stderr).toBe("");
    const args = ["-c", `${VARVE.join(" ")} show acme/odd --field to_snapshot | od -An -tx1`];
    expect(run(["env", `VARVE_REPO=${repo}`, "sh", ...args]).trim()).toBe("61 ff 0a 62 0a");
  });
});

describe("varve and the terminal", () => {
  test("backup shows progress and a summary when standard error is a terminal", () => {
    const words = [...VARVE, "backup", "acme/seen", volume, "--format", "raw"].join(" ");
    const seen = run(["env", `VARVE_REPO=${repo}`, "script", "-qec", words, "/dev/null"]);
    expect(seen).toContain("\r\u001b[K");
    expect(seen).toMatch(
      /acme\/seen@\S+: 9.00 MiB, 3 of 3 chunks read: \d new, 0 patched, \d reused, \d zero/,
    );
    expect(run(["env", `VARVE_REPO=${repo}`, "script", "-qec", `${words} --quiet`, "/dev/null"])).toBe("");
  });

  test.each([
    ["backup acme/typed", "Cannot read the backup from a terminal"],
    ["backup acme/typed - --format raw", "Cannot read the backup from a terminal"],
    ["restore acme/disk --to -", "standard output is a terminal"],
    [
      "restore acme/disk --to x --changed-since latest --changes -",
      "--changes - needs a stream on standard input",
    ],
  ])("%s exits with 2 when a person sits at the other end", (words, state) => {
    const line = `${[...VARVE, words].join(" ")}; echo "code $?"`;
    const seen = run(["env", `VARVE_REPO=${repo}`, "script", "-qec", line, "/dev/null"]);
    expect(seen).toMatch(/^varve: Cannot [^\r\n]+\r\ncode 2\r\n$/);
    expect(seen).toContain(state);
  });

  test("backup exits with 130 and commits nothing when it is interrupted", async () => {
    const [command, main] = VARVE;
    const producer = ["sh", "-c", "echo up >&2; exec sleep 600"];
    const args = [main, "backup", "acme/stopped", "--exec", "--", ...producer];
    const child = spawn(command, args, {
      env: { PATH: process.env.PATH, ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
      if (!child.killed && stderr.includes("up\n")) child.kill("SIGINT");
    });
    const [code] = await once(child, "close");
    expect(code).toBe(130);
    expect(stderr).toBe("up\nvarve: Interrupted: nothing was committed\n");
    expect(varve(["list", "acme/stopped"], { env }).code).toBe(4);
  });
});

function flipLastBit(file: string): void {
  const bytes = fs.readFileSync(file);
  bytes[bytes.length - 1]! ^= 1;
  fs.writeFileSync(file, bytes);
}

/** `value` as a little-endian number of `bytes` bytes. */
function le(bytes: 4 | 8, value: number): Uint8Array {
  const out = new Uint8Array(bytes);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
}
