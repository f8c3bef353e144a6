/** `verify --source` on a real cluster: the export of a snapshot, its other formats, and a point with another base. */
import { expect, test } from "bun:test";
import { describeWith } from "../kit/parts.ts";
import { expectOneLine } from "../kit/repository.ts";
import { clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { MIB, type Word, write } from "../kit/rbd_image.ts";
import { RbdVolume } from "../kit/rbd_volume.ts";

describeWith(["Ceph"], "varve verify --source", () => {
  const repository = clusterRepository();
  const compare = async (point: string, stdin: Uint8Array) =>
    await repository.run(["verify", point, "--source", "-"], { stdin });

  test(
    "takes rbd export as its help says, and refuses export-diff and export-format 2 with exit 2",
    async () => {
      const volume = await RbdVolume.create(repository, { name: "compared", sizeBytes: 16 * MIB });
      await volume.night("monday", { changes: [write(1, MIB, 7 * MIB)] });
      const { image } = volume;
      const raw = (...args: Word[]) =>
        image.rbd("export", "--no-progress", ...args, `${image.spec}@monday`, "-");
      expect(await compare("acme/compared@monday", await raw())).toMatchObject({ code: 0, stderr: "" });
      const exportDiff = await image.rbd("export-diff", "--no-progress", `${image.spec}@monday`, "-");
      for (const stream of [exportDiff, await raw("--export-format", "2")]) {
        expectOneLine(await compare("acme/compared@monday", stream), {
          code: 2,
          line: /it is an rbd stream/,
        });
      }
    },
    TEST_LIMIT_MS,
  );

  test(
    "finds an increment whose base snapshot was removed and made again, and does not blame the source",
    async () => {
      const volume = await RbdVolume.create(repository, { name: "rebased", sizeBytes: 16 * MIB });
      const { image } = volume;
      await volume.night("monday", { changes: [write(1, 0, 16 * MIB)] });
      await image.rbd("snap", "rm", "--no-progress", `${image.spec}@monday`);
      await image.change([write(2, 4 * MIB, 5 * MIB)]);
      await image.snapshot("monday");
      await image.change([write(3, 12 * MIB, MIB)]);
      await image.snapshot("tuesday");
      await volume.pipe(image.exportDiff({ from: "monday", to: "tuesday" }));
      expect(await repository.run(["verify", "acme/rebased"])).toMatchObject({ code: 0 });
      const bytes = await image.rbd("export", "--no-progress", `${image.spec}@tuesday`, "-");
      const { code, stdout, stderr } = await compare("acme/rebased@tuesday", bytes);
      expect({ code, range: stdout.split("\n")[1] }).toEqual({
        code: 3,
        range: `differs: ${8 * MIB} bytes at offset ${4 * MIB}`,
      });
      expect(stderr).toMatch(/the backup was made over another base: back up in full\n$/);
    },
    TEST_LIMIT_MS,
  );
});
