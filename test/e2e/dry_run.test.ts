/** `--dry-run` of every command that has it: nothing is written, not for a moment, and no right to write is needed. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { lstatSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { startMinio } from "../kit/minio.ts";
import { assumeRole } from "../kit/minio_session.ts";
import { mountTmpfs, remount, unmount } from "../kit/mounts.ts";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { awsEnv, type S3Server } from "../kit/s3_server.ts";

setDefaultTimeout(RUN_LIMIT_MS);

const GC = ["gc", "acme", "--grace", "0"];
const COMMANDS = [
  GC,
  ["gc", "--grace", "0"],
  ["forget", "acme", "--keep-last", "1"],
  ["forget", "acme/vm@~1"],
  ["restore", "acme/vm", "--to", "NEW"],
];

/** Three points of which one is forgotten: there is garbage. */
async function fill(repository: TestRepository): Promise<void> {
  for (const seed of [1, 2, 3]) await repository.backUp("acme/vm", noise(4 * CHUNK_BYTES, seed));
  await repository.json(["forget", "acme/vm@~2"]);
}

/** What the commands say, without how long they took. */
async function dryRuns(repository: TestRepository, env: Record<string, string> = {}): Promise<unknown[]> {
  const said = [];
  for (const args of COMMANDS) {
    const words = args.map((arg) => arg === "NEW" ? repository.path("new.img") : arg);
    const json = await repository.json<object>([...words, "--dry-run"], { env });
    said.push(JSON.parse(JSON.stringify(json), (key, value) => key === "duration_s" ? undefined : value));
  }
  return said;
}

/** Every file and folder, with all that a write would change. */
function look(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted();
  return ["", ...names].map((name) => {
    const { ino, size, mtimeNs, ctimeNs } = lstatSync(join(folder, name), { bigint: true });
    return [name, ino, size, mtimeNs, ctimeNs].join(" ");
  });
}

test("a dry run of a restore into a named pipe waits for no reader", async () => {
  const repository = await TestRepository.make();
  await repository.backUp("acme/vm", noise(4 * CHUNK_BYTES, 1));
  const pipe = repository.path("pipe");
  Bun.spawnSync(["mkfifo", pipe]);
  for (const options of [[], ["--format", "rbd-diff"]]) {
    const report = await repository.json(["restore", "acme/vm", "--to", pipe, "--dry-run", ...options]);
    expect(report).toMatchObject({ chunks: { total: 4 } });
  }
  await repository.remove();
});

test("a dry run changes nothing in a directory, not even for a moment", async () => {
  const repository = await TestRepository.make();
  await fill(repository);
  rmSync(join(repository.url, "reserve")); // what a gc makes again
  const before = look(repository.url);
  const said = await dryRuns(repository);
  expect(look(repository.url)).toEqual(before);
  expect(said[0]).toMatchObject({ garbage: 5, condemned: 5, deleted: 0 });
  await repository.remove();
});

describeWith(["root"], "varve --dry-run, on a directory that is mounted read-only,", () => {
  test("says what it says where it could write", async () => {
    const repository = await TestRepository.make({ mount: (path) => mountTmpfs(path, ["size=16777216"]) });
    try {
      await fill(repository);
      const said = await dryRuns(repository);
      remount(repository.path("mount"), ["ro"]);
      expect(await dryRuns(repository)).toEqual(said);
    } finally {
      unmount(repository.path("mount"));
      await repository.remove();
    }
  });
});

describeWith(["MinIO"], "varve --dry-run, as a MinIO user who may only read,", () => {
  let minio: S3Server;
  let repository: TestRepository;
  let reader: Record<string, string>;

  beforeAll(async () => {
    minio = await startMinio();
    repository = await TestRepository.make({ url: `s3://${minio.bucket}`, env: awsEnv(minio) });
    await fill(repository);
    const Resource = [`arn:aws:s3:::${minio.bucket}`, `arn:aws:s3:::${minio.bucket}/*`];
    const Statement = [{ Effect: "Allow", Action: ["s3:GetObject", "s3:ListBucket"], Resource }];
    reader = { ...await assumeRole(minio, JSON.stringify({ Version: "2012-10-17", Statement })) };
  });
  afterAll(async () => {
    await repository?.remove();
    await minio?.stop();
  });

  test("says what whoever may write is told, and a gc does just that", async () => {
    const said = await dryRuns(repository);
    expect(await dryRuns(repository, reader)).toEqual(said);
    const { code, stderr } = await repository.run(GC, { env: reader });
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("AccessDenied") });
    expect(await repository.json(GC)).toMatchObject({
      deleted: (said[0] as { condemned: number }).condemned,
    });
    expect(await repository.json<BackupReport[]>(["list", "acme/vm"])).toHaveLength(2);
  });
});
