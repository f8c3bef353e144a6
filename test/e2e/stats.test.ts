/** `varve stats` by the built program, in a directory and on MinIO: tables for people, JSON for scripts. */
import { expect, test } from "bun:test";
import type { ProjectStats } from "../../src/engine/stats/stats.ts";
import { startMinio } from "../kit/minio.ts";
import { describeWith } from "../kit/parts.ts";
import {
  CHUNK_BYTES,
  expectOneLine,
  noise,
  type Place,
  RUN_LIMIT_MS,
  TestRepository,
} from "../kit/repository.ts";
import { awsEnv } from "../kit/s3_server.ts";

const CONTENT = noise(4 * CHUNK_BYTES, 1);
const CHANGED = Buffer.concat([noise(CHUNK_BYTES, 2), CONTENT.subarray(CHUNK_BYTES)]);

async function expectStats(place: Place): Promise<void> {
  const repository = await TestRepository.make({ ...place, projects: ["acme", "other"] });
  const first = await repository.backUp("acme/a", CONTENT);
  await repository.backUp("acme/a", CHANGED, { snapshot: "s2" });
  await repository.backUp("other/b", CONTENT);
  const all = await repository.json<ProjectStats[]>(["stats"]);
  expect(all.map(({ project, points }) => [project, points])).toEqual([["acme", 2], ["other", 1]]);
  const acme = await repository.json<ProjectStats>(["stats", "acme"]);
  expect(acme).toEqual(all[0]!);
  expect(acme).toMatchObject({ logical_bytes: 8 * CHUNK_BYTES, objects: 5 + 2 + 2, unreferenced_bytes: 0 });
  const { volumes } = await repository.json<ProjectStats>(["stats", "acme/a"]);
  const freed = volumes[0]!.backups![0]!;
  expect(freed.backup).toBe(first.backup);
  expect(freed.unique_bytes).toBeGreaterThan(CHUNK_BYTES);
  expect(freed.unique_bytes).toBeLessThan(1.2 * CHUNK_BYTES);
  const { stdout, stderr } = await repository.run(["stats"]);
  expect(stderr).toBe("");
  expect(stdout).toMatch(
    /^VOLUME +POINTS +NEWEST +ALL POINTS +STORED +SHARED +UNIQUE +GARBAGE\nacme\/a +2 +256 KiB +512 KiB /,
  );
  expect(stdout).toMatch(/\nacme +2 +512 KiB [^\n]+ 0 B\nother\/b +1 /);
  expect(stdout).toMatch(/\nall projects +3 +768 KiB +58\d KiB +0 B\n/);
  expect(stdout).toContain("\nacme: 2 points of 512 KiB in all, stored in 323 KiB (ratio 1.6)\n");
  expect((await repository.run(["stats", "acme/a"])).stdout).toMatch(
    /^TIME +ID +SIZE +FREES\n2\S+ \S+Z +[0-9a-f]{8} +256 KiB +6\d/,
  );
  expectOneLine(await repository.run(["stats", "acme/c"]), { code: 4, line: "it has no restore points" });
  expectOneLine(await repository.run(["stats", "acme/a@s1"]), { code: 2, line: "remove the @ part" });
  await repository.expectIntact();
  await repository.remove();
}

test("varve stats tells what a directory holds", () => expectStats({}), RUN_LIMIT_MS);

describeWith(["MinIO"], "varve stats on MinIO", () => {
  test("tells what a bucket holds", async () => {
    const minio = await startMinio();
    await expectStats({ url: `s3://${minio.bucket}/backups`, env: awsEnv(minio) });
    await minio.stop();
  }, RUN_LIMIT_MS);
});
