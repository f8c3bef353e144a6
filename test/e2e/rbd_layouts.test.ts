/** Images of every layout, and clones, on a real cluster: each point comes back as `rbd export` gives it. */
import { describe, expect, test } from "bun:test";
import { describeWith } from "../kit/parts.ts";
import { clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { discard, KIB, MIB, write } from "../kit/rbd_image.ts";
import { RbdVolume } from "../kit/rbd_volume.ts";

const LAYOUTS = {
  "objects of 64 KiB": ["--object-size", "64K"],
  "objects of 8 MiB": ["--object-size", "8M"],
  "stripes of 64 KiB over 4 objects": ["--object-size", "1M", "--stripe-unit", "64K", "--stripe-count", "4"],
  "neither object map nor fast-diff": ["--image-feature", "layering"],
};

describeWith(["Ceph"], "varve gives back every point of an image", () => {
  const repository = clusterRepository();
  const SIZE_BYTES = 18 * MIB + 4096;

  test.each(Object.entries(LAYOUTS))("with %s", async (layout, create) => {
    const name = layout.replaceAll(" ", "-");
    const volume = await RbdVolume.create(repository, { name, sizeBytes: SIZE_BYTES, create });
    await volume.night("one", {
      changes: [write(1, 100 * KIB, 300 * KIB), write(2, 7 * MIB + 1000, 3 * MIB), write(3, 18 * MIB, 4096)],
    });
    await volume.night("two", {
      changes: [discard(8 * MIB, MIB), write(4, 120 * KIB + 5, 70 * KIB), write(5, 16 * MIB, 10)],
    });
    await volume.night("three", {
      sizeBytes: 17 * MIB,
      changes: [write(6, 9 * MIB - 64 * KIB, 256 * KIB)],
    });
    await volume.assertPoints();
  }, TEST_LIMIT_MS);

  test("recorded with --whole-object", async () => {
    const exportArgs = ["--whole-object"];
    const volume = await RbdVolume.create(repository, { name: "whole-object", sizeBytes: 14 * MIB + 512 });
    await volume.night("one", { exportArgs, changes: [write(1, 0, 5 * MIB), write(2, 14 * MIB, 512)] });
    await volume.night("two", { exportArgs, changes: [write(3, 4 * MIB + 99, 100), discard(MIB, 4096)] });
    await volume.night("three", { exportArgs, changes: [discard(0, 4 * MIB), write(4, 14 * MIB + 5, 5)] });
    await volume.assertPoints();
  }, TEST_LIMIT_MS);

  describe("that is a clone", () => {
    async function cloned(name: string): Promise<RbdVolume> {
      const parent = await RbdVolume.create(repository, { name: `${name}-parent`, sizeBytes: 12 * MIB });
      await parent.night("base", { changes: [write(1, 0, 5 * MIB), write(2, 9 * MIB + 300, MIB)] });
      return new RbdVolume(await parent.image.clone("base"), { name, repository });
    }

    test("with its parent's data in the full stream", async () => {
      const volume = await cloned("clone");
      await volume.night("untouched");
      await volume.night("touched", {
        changes: [write(3, MIB + 7, 5000), discard(9 * MIB, 64 * KIB), write(4, 7 * MIB, 4096)],
      });
      await volume.night("grown", { sizeBytes: 14 * MIB, changes: [write(5, 13 * MIB, 100)] });
      await volume.assertPoints();
      const [parent] = await repository.list(`${volume.name}-parent`);
      const [untouched] = await repository.list(volume.name);
      expect(untouched!.size_bytes).toBe(parent!.size_bytes);
    }, TEST_LIMIT_MS);

    test("that is flattened between two points", async () => {
      const volume = await cloned("flattened");
      await volume.night("clone", { changes: [write(3, MIB + 7, 5000)] });
      await volume.image.rbd("flatten", "--no-progress", volume.image.spec);
      await volume.night("flat", { changes: [write(4, 7 * MIB, 4096), discard(2 * MIB, 3 * MIB)] });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);
  });
});
