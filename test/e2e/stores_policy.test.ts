/** The policy in examples/ on a real MinIO: what a user confined to one project can do with the built program. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { noise } from "../kit/engine.ts";
import { startMinio } from "../kit/minio.ts";
import { assumeRole } from "../kit/minio_session.ts";
import { describeWith } from "../kit/parts.ts";
import { encodeDiff } from "../kit/rbd_stream.ts";
import { awsEnv, type S3Server } from "../kit/s3_server.ts";
import { sumOf } from "../kit/chains.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

const LIMIT_MS = 120_000;
const POLICY = join(import.meta.dirname, "../../examples/minio-policy.json");

describeWith(["MinIO"], "varve, as a MinIO user with the policy of examples/minio-policy.json,", () => {
  const folder = scratchFolder();
  const volume = noise(1, 5 << 20);
  const stdin = encodeDiff([
    { tag: "t", name: "monday" },
    { tag: "s", sizeBytes: volume.length },
    { tag: "w", offset: 0, data: volume },
    { tag: "e" },
  ]);
  let minio: S3Server;
  let root: Workbench;
  let user: Workbench;

  beforeAll(async () => {
    minio = await startMinio();
    const policy = (await Bun.file(POLICY).text()).replaceAll(":::backups", `:::${minio.bucket}`);
    const env = { ...awsEnv(minio), VARVE_REPO: `s3://${minio.bucket}` };
    root = new Workbench(folder, env);
    user = new Workbench(folder, { ...env, ...await assumeRole(minio, policy) });
    await root.json(["init", "acme", "other", "--no-encryption"]);
    await root.json(["backup", "other/vm-1"], { stdin });
  }, LIMIT_MS);
  afterAll(() => minio?.stop(), LIMIT_MS);

  test("backs up, lists, shows and restores in project acme, without a warning", async () => {
    for (const args of [["backup", "acme/vm-1"], ["list", "acme"], ["show", "acme/vm-1"]]) {
      const { code, stderr } = await user.run([...args, "--json"], { stdin });
      expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: "" });
    }
    expect(await user.restoreToPipe("acme/vm-1")).toEqual(sumOf(volume));
  }, LIMIT_MS);

  test("is refused everywhere else, in one line that says where and why", async () => {
    const commands = [
      ["backup", "other/vm-1"],
      ["backup", "new/vm-1"],
      ["list", "other"],
      ["list"],
      ["show", "other/vm-1"],
      ["restore", "other/vm-1", "--to", "-"],
    ];
    for (const args of commands) {
      const { code, stdout, stderr } = await user.run(args, { stdin });
      expect({ args, code, stdout, stderr }).toEqual({
        args,
        code: 1,
        stdout: "",
        stderr: expect.stringMatching(
          /^varve: Cannot [^\n]*"s3:\/\/[^\n]*access denied \(403 AccessDenied\)[^\n]*\n$/,
        ),
      });
    }
    expect(await root.list("other")).toHaveLength(1);
    expect(await root.restoreToPipe("other/vm-1")).toEqual(sumOf(volume));
  }, LIMIT_MS);
});
