/** What a restore by the built program needs of its store: to read, and of its own project alone. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { startMinio } from "../kit/minio.ts";
import { assumeRole } from "../kit/minio_session.ts";
import { mountTmpfs, remount, unmount } from "../kit/mounts.ts";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { expectContent } from "../kit/restores.ts";
import { awsEnv, type S3Server } from "../kit/s3_server.ts";
import { fullStream } from "../kit/rbd_stream.ts";

setDefaultTimeout(RUN_LIMIT_MS);
const VOLUME = noise(10 * CHUNK_BYTES, "volume");

/** Reading one project, and nothing else. */
function readOnlyPolicy(bucket: string): string {
  const [all, folder] = [`arn:aws:s3:::${bucket}`, "repository"];
  const statements = [
    { Action: "s3:GetObject", Resource: [`${all}/${folder}/varve.json`, `${all}/${folder}/projects/acme/*`] },
    {
      Action: "s3:ListBucket",
      Resource: all,
      Condition: { StringLike: { "s3:prefix": `${folder}/projects/acme/*` } },
    },
  ];
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: statements.map((one) => ({ Effect: "Allow", ...one })),
  });
}

describeWith(["MinIO"], "varve, as a MinIO user who may only read project acme,", () => {
  let minio: S3Server;
  let repository: TestRepository;
  let reader: Record<string, string>;
  beforeAll(async () => {
    minio = await startMinio();
    repository = await TestRepository.make({
      url: `s3://${minio.bucket}/repository`,
      env: awsEnv(minio),
      projects: ["acme", "other"],
    });
    await repository.backUp("acme/vm", VOLUME);
    await repository.backUp("other/vm", VOLUME);
    reader = { ...await assumeRole(minio, readOnlyPolicy(minio.bucket)) };
  });
  afterAll(async () => {
    await repository?.remove();
    await minio?.stop();
  });

  test("restores without a warning, in place too, and cannot back up", async () => {
    const file = repository.path("disk");
    for (const way of ["new", "unchanged"]) {
      const args = ["restore", "acme/vm", "--to", file, "--json", "--verify-target"];
      const { code, stdout, stderr } = await repository.run(args, { env: reader });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(JSON.parse(stdout) as RestoreReport).toMatchObject({ way, verified_bytes: VOLUME.length });
    }
    expectContent(file, VOLUME);
    const denied = await repository.run(["backup", "acme/vm"], { env: reader, stdin: fullStream(VOLUME) });
    expect(denied).toMatchObject({ code: 1, stderr: expect.stringContaining("403") });
    await repository.expectNothingNew();
  });

  test("is refused another project", async () => {
    const args = ["restore", "other/vm", "--to", repository.path("other")];
    const { code, stderr } = await repository.run(args, { env: reader });
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^varve: Cannot [^\n]*403[^\n]*\n$/),
    });
  });
});

describeWith(["root"], "varve, from a directory that is mounted read-only,", () => {
  let repository: TestRepository;
  const mount = (path: string) => mountTmpfs(path, ["size=8388608"]);
  beforeAll(async () => {
    repository = await TestRepository.make({ mount });
    await repository.backUp("acme/vm", VOLUME);
  });
  afterAll(async () => {
    unmount(repository.path("mount"));
    await repository.remove();
  });

  test("restores without a warning", async () => {
    remount(repository.path("mount"), ["ro"]);
    const file = repository.path("disk");
    expect(await repository.run(["restore", "acme/vm", "--to", file])).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
    expectContent(file, VOLUME);
  });
});
