/** `varve copy` by the built program: from a directory to MinIO, back, and on after it was killed. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BackupInfo } from "../../src/project/catalog.ts";
import type { CopyReport } from "../../src/engine/copy/copy.ts";
import { flipBit } from "../kit/damage.ts";
import { startMinio } from "../kit/minio.ts";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { awsEnv, makeBucket, rootClient, type S3Server } from "../kit/s3_server.ts";
import { until } from "../kit/terminal.ts";
import { varve, varveBytes, varveJson } from "../kit/varve.ts";

const KEY = { VARVE_KEY_FILE: "" };
const CHUNKS = 20;

let first: TestRepository;

beforeEach(async () => {
  first = await TestRepository.make({ projects: [] });
  KEY.VARVE_KEY_FILE = first.path("acme.key");
  await writeFile(KEY.VARVE_KEY_FILE, noise(32, "key"), { mode: 0o600 });
  await first.json(["init", "acme"], { env: KEY });
});
afterEach(() => first.remove());

/** Makes the repository that is copied to. */
async function initAt(url: string, env: Record<string, string> = {}): Promise<string> {
  await first.json(["init", "--chunk-size", String(CHUNK_BYTES)], { env: { ...env, VARVE_REPO: url } });
  return url;
}

const bytes = (seed: number) => noise(CHUNKS * CHUNK_BYTES - 7, seed);

/** Every point of the first repository is in the second, restores there, and verifies. */
async function expectCopied(env: Record<string, string>, contents: Uint8Array[]): Promise<void> {
  const listed = await varveJson<BackupInfo[]>(["list", "acme"], { env });
  expect(listed).toEqual(await first.json<BackupInfo[]>(["list", "acme"], { env: KEY }));
  for (const [i, { volume, backup }] of listed.entries()) {
    const restored = await varveBytes(["restore", `acme/${volume}@${backup}`, "--to", "-"], { env });
    expect({ code: restored.code, same: Buffer.from(restored.bytes).equals(contents[i]!) }).toEqual({
      code: 0,
      same: true,
    });
  }
  expect((await varve(["verify", "acme"], { env })).code).toBe(0);
}

describe("varve copy to a directory", () => {
  test("copies all points, and then nothing, and then only what is new", async () => {
    const contents = [bytes(1), bytes(2)];
    await first.backUp("acme/a", contents[0]!, { env: KEY });
    await first.backUp("acme/b", contents[1]!, { env: KEY });
    const to = await initAt(first.path("second"));
    const env = { ...first.env, ...KEY, VARVE_REPO: to };
    const report = await first.json<CopyReport>(["copy", "acme", "--to", to], { env: KEY });
    expect(report).toEqual({
      ...{ project: "acme", to, damaged: [], duration_s: expect.any(Number) },
      points: { copied: 2, present: 0, damaged: 0, forgotten: 0 },
      objects: { copied: 2 * (CHUNKS + 1), present: 0 },
      copied_bytes: expect.any(Number),
    });
    await expectCopied(env, contents);
    const again = await first.json<CopyReport>(["copy", "acme", "--to", to], { env: KEY });
    expect(again).toMatchObject({ points: { copied: 0, present: 2 }, copied_bytes: 0 });
    const changed = contents[0]!.slice();
    changed.fill(7, CHUNK_BYTES, CHUNK_BYTES + 1);
    await first.backUp("acme/a", changed, { env: KEY, snapshot: "s2" });
    const { code, stdout, stderr } = await first.run(["copy", "acme/a@s2", "--to", to], { env: KEY });
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "", stderr: "" });
    await expectCopied(env, [contents[0]!, changed, contents[1]!]);
  }, RUN_LIMIT_MS);

  test("names a damaged point, copies the others and exits with 3", async () => {
    await first.backUp("acme/a", bytes(1), { env: KEY });
    await first.backUp("acme/b", bytes(2), { env: KEY });
    const folder = join(first.url, "projects/acme/chunks");
    const files = await Array.fromAsync(new Bun.Glob("*/*").scan(folder));
    const chunk = files.map((name) => join(folder, name)).find((path) => Bun.file(path).size > CHUNK_BYTES)!;
    await writeFile(chunk, flipBit(await Bun.file(chunk).bytes(), 8 * CHUNK_BYTES));
    const to = await initAt(first.path("second"));
    const { code, stdout, stderr } = await first.run(["copy", "acme", "--to", to], { env: KEY });
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toMatch(
      /^not copied: acme\/[ab]@\S+: Cannot read "[^"]+": [^\n]+\nvarve: Cannot copy all of "acme": 1 /,
    );
    const listed = await varveJson<BackupInfo[]>(["list"], { env: { ...first.env, ...KEY, VARVE_REPO: to } });
    expect(listed).toHaveLength(1);
  }, RUN_LIMIT_MS);

  test("refuses with one line what is not the same project, or cannot be", async () => {
    await first.backUp("acme/a", bytes(1), { env: KEY });
    const other = await TestRepository.make();
    await other.backUp("acme/a", bytes(1));
    const run = (...args: string[]) => first.run(["copy", ...args], { env: KEY });
    expectOneLine(await run("acme", "--to", other.url), { code: 11, line: "a different project" });
    await other.expectIntact();
    await other.remove();
    const coarse = first.path("coarse");
    await first.run(["init", "acme", "--no-encryption", "--chunk-size", "1M"], {
      env: { VARVE_REPO: coarse },
    });
    expectOneLine(await run("acme", "--to", coarse), { code: 11, line: "chunk size is 1048576 bytes" });
    expectOneLine(await run("none", "--to", coarse), { code: 4, line: 'project "none"' });
    expectOneLine(await run("acme/b", "--to", coarse), { code: 4, line: "no restore points" });
    expectOneLine(await run("acme"), { code: 2, line: "--to" });
    expectOneLine(await first.run(["copy", "acme", "--to", coarse]), { code: 13, line: "key file" });
  }, RUN_LIMIT_MS);

  test("goes on with the rest after it was killed", async () => {
    const content = bytes(1);
    await first.backUp("acme/a", content, { env: KEY });
    const to = await initAt(first.path("second"));
    const env = { ...first.env, ...KEY, VARVE_REPO: to };
    const child = first.start(["copy", "acme", "--to", to, "--limit-rate", "500K"], { env: KEY });
    const sent = () => Array.fromAsync(new Bun.Glob("projects/acme/chunks/*/*").scan(to)).catch(() => []);
    await until(async () => (await sent()).length >= 3);
    child.kill("SIGKILL");
    await child.exited;
    expect(await varveJson<BackupInfo[]>(["list", "acme"], { env })).toEqual([]);
    const report = await first.json<CopyReport>(["copy", "acme", "--to", to], { env: KEY });
    expect(report.objects.present).toBeGreaterThanOrEqual(3);
    expect(report.objects.present + report.objects.copied).toBe(CHUNKS + 1);
    await expectCopied(env, [content]);
  }, RUN_LIMIT_MS);
});

describeWith(["MinIO"], "varve copy on MinIO", () => {
  let minio: S3Server | undefined;
  afterAll(() => minio?.stop());

  test("copies there with another profile's credentials, from bucket to bucket, and back", async () => {
    minio ??= await startMinio();
    const contents = [bytes(1), bytes(2)];
    await first.backUp("acme/a", contents[0]!, { env: KEY });
    await first.backUp("acme/a", contents[1]!, { env: KEY, snapshot: "s2" });
    const config = first.path("aws-credentials");
    const { accessKey, secretKey } = minio;
    await writeFile(
      config,
      `[offsite]\naws_access_key_id=${accessKey}\naws_secret_access_key=${secretKey}\n`,
    );
    const wrong = { AWS_ACCESS_KEY_ID: "nobody", AWS_SECRET_ACCESS_KEY: "wrong" };
    const profile = { ...KEY, ...wrong, AWS_SHARED_CREDENTIALS_FILE: config };
    const url = await initAt(`s3://${minio.bucket}/copies`, awsEnv(minio));
    const offsite = ["--to", url, "--to-s3-endpoint", minio.endpoint, "--to-profile", "offsite"];
    expect((await first.json<CopyReport>(["copy", "acme", ...offsite], { env: profile })).points.copied).toBe(
      2,
    );
    const env = { ...first.env, ...KEY, ...awsEnv(minio), VARVE_REPO: url };
    await expectCopied(env, contents);
    const third = await initAt(`s3://${await makeBucket(rootClient(minio))}`, awsEnv(minio));
    await varveJson(["copy", "acme", "--to", third], { env });
    await expectCopied({ ...env, VARVE_REPO: third }, contents);
    const back = await initAt(first.path("back"));
    await varveJson(["copy", "acme", "--to", back], { env: { ...env, VARVE_REPO: third } });
    await expectCopied({ ...env, VARVE_REPO: back }, contents);
  }, RUN_LIMIT_MS);
});
