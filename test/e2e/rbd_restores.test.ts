/** Restore points on their way back into a real cluster: by rbd import, by rbd import-diff, and onto what changed since. */
import { expect, test } from "bun:test";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { describeWith } from "../kit/parts.ts";
import { VARVE_BIN } from "../kit/varve.ts";
import { sumOfFile } from "../kit/chains.ts";
import { clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { discard, MIB, RbdImage, rbdWords, shell, shellWords, write } from "../kit/rbd_image.ts";
import { RbdVolume } from "../kit/rbd_volume.ts";
import type { Workbench } from "../kit/workbench.ts";

/** Four nights on which the image is written, discarded, grown and shrunk. */
async function fourNights(repository: Workbench, name: string): Promise<RbdVolume> {
  const volume = await RbdVolume.create(repository, { name, sizeBytes: 20 * MIB + 512 });
  await volume.night("one", { changes: [write(1, 0, 5 * MIB), write(2, 19 * MIB, MIB)] });
  await volume.night("two", { changes: [discard(MIB, 2 * MIB), write(3, 20 * MIB, 512)] });
  await volume.night("three", { sizeBytes: 27 * MIB, changes: [write(4, 20 * MIB + 100, 5 * MIB)] });
  await volume.night("four", { sizeBytes: 9 * MIB + 1, changes: [write(5, 9 * MIB, 1)] });
  return volume;
}

const NIGHTS = ["one", "two", "three", "four"];

describeWith(["Ceph"], "varve restore, into a real cluster,", () => {
  const repository = clusterRepository();

  /** `varve restore POINT --to - … | rbd …`, as a user has it. */
  async function pipe(point: string, args: string[], into: string[]): Promise<void> {
    const restore = shellWords([VARVE_BIN, "restore", point, "--to", "-", ...args]);
    await shell(`${restore} | ${shellWords(rbdWords(...into))}`, repository);
  }

  test("gives rbd import each point", async () => {
    const volume = await fourNights(repository, "import");
    for (const night of NIGHTS) {
      const image = RbdImage.unmade(repository.env);
      await pipe(`${volume.name}@${night}`, [], ["import", "--no-progress", "-", image.spec]);
      expect(await image.exported()).toEqual(await volume.image.exported(night));
    }
  }, TEST_LIMIT_MS);

  test("gives rbd import-diff each point, onto a new image or onto the point before", async () => {
    const volume = await fourNights(repository, "import-diff");
    const along = await RbdImage.create(repository.env, { sizeBytes: MIB });
    for (const [at, night] of NIGHTS.entries()) {
      const [point, diff] = [`${volume.name}@${night}`, ["--format", "rbd-diff"]];
      const image = await RbdImage.create(repository.env, { sizeBytes: MIB });
      await pipe(point, diff, ["import-diff", "--no-progress", "-", image.spec]);
      const from = at === 0 ? [] : ["--from", NIGHTS[at - 1]!];
      await pipe(point, [...diff, ...from], ["import-diff", "--no-progress", "-", along.spec]);
      const expected = await volume.image.exported(night);
      expect([await image.exported(night), await along.exported(night)]).toEqual([expected, expected]);
    }
  }, TEST_LIMIT_MS);

  test("rolls an image back to each older point, where it has the newest one's snapshot", async () => {
    for (const night of ["three", "two", "one"]) {
      const volume = await fourNights(repository, `back-to-${night}`);
      const args = ["--format", "rbd-diff", "--from", "four", "--head"];
      await pipe(`${volume.name}@${night}`, args, ["import-diff", "--no-progress", "-", volume.image.spec]);
      expect(await volume.image.exported()).toEqual(await volume.image.exported(night));
    }
  }, TEST_LIMIT_MS);

  test("reads and writes only what may differ, where rbd tells what changed since a point", async () => {
    const volume = await RbdVolume.create(repository, { name: "changed-since", sizeBytes: 40 * MIB });
    await volume.night("monday", { changes: [write(1, 0, 40 * MIB)] });
    await volume.night("tuesday", { changes: [write(2, 9 * MIB, 100)] });
    await volume.image.change([write(3, 21 * MIB, 5000), discard(33 * MIB, MIB)]);
    const [target, changes] = [repository.path("mapped"), repository.path("changes")];
    await volume.image.rbd("export", "--no-progress", volume.image.spec, target);
    await shell(`${shellWords(volume.image.exportDiff({ from: "tuesday" }))} > ${changes}`, repository);
    const report = await repository.json<RestoreReport>([
      ...["restore", `${volume.name}@monday`, "--to", target],
      ...["--changed-since", "tuesday", "--changes", changes],
    ]);
    expect(report.chunks).toMatchObject({ total: 10, written: 3 });
    expect(await sumOfFile(target)).toEqual(await volume.image.exported("monday"));
  }, TEST_LIMIT_MS);
});
