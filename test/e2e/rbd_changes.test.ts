/** What happens to an image from night to night, on a real cluster: each point comes back as `rbd export` gives it. */
import { describe, test } from "bun:test";
import { describeWith } from "../kit/parts.ts";
import { clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { discard, KIB, MIB, write } from "../kit/rbd_image.ts";
import { RbdVolume } from "../kit/rbd_volume.ts";

describeWith(["Ceph"], "varve gives back every point of an image", () => {
  const repository = clusterRepository();
  const create = (name: string, sizeBytes: number) => RbdVolume.create(repository, { name, sizeBytes });

  describe("that is written and discarded", () => {
    test("at odd offsets, across objects, over each other", async () => {
      const volume = await create("unaligned", 20 * MIB);
      await volume.night("one", {
        changes: [write(1, 1, 3), write(2, 4 * MIB - 777, 2000), write(3, 6 * MIB + 513, 5 * MIB + 1)],
      });
      await volume.night("two", {
        changes: [write(4, 4 * MIB - 3, 7), write(5, 7 * MIB + 9, 4096), write(6, 20 * MIB - 1, 1)],
      });
      await volume.night("three", {
        changes: [write(7, 7 * MIB, 512), write(8, 7 * MIB + 100, 100), discard(8 * MIB + 3, 9001)],
      });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("by discards of parts of objects and of whole ones", async () => {
      const volume = await create("discards", 24 * MIB);
      await volume.night("full", { changes: [write(1, 0, 24 * MIB)] });
      await volume.night("holes", {
        changes: [discard(4 * MIB, 8 * MIB), discard(MIB + 4096, 700 * KIB), discard(23 * MIB, MIB)],
      });
      await volume.night("a scrap", { changes: [write(2, 5 * MIB + 5, 5000), discard(8 * MIB, 15 * MIB)] });
      await volume.night("nothing", { changes: [discard(0, 24 * MIB)] });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("at random, by rbd bench", async () => {
      const volume = await create("random", 64 * MIB);
      const bench = ["--io-type", "write", "--io-pattern", "rand", "--io-size", "4K", "--io-total"];
      for (const [night, total] of [["one", "4M"], ["two", "400K"], ["three", "40K"]] as const) {
        await volume.image.rbd("bench", ...bench, total, volume.image.spec);
        await volume.night(night);
      }
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("not at all between two snapshots, and then with what it holds already", async () => {
      const volume = await create("unchanged", 9 * MIB);
      await volume.night("one", { changes: [write(1, MIB, 5 * MIB)] });
      await volume.night("two");
      await volume.night("three", { changes: [write(1, MIB, 5 * MIB)] });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);
  });

  describe("that is resized", () => {
    test("when it grows, also by a part of an object", async () => {
      const volume = await create("grown", 6 * MIB);
      await volume.night("small", { changes: [write(1, 0, 6 * MIB)] });
      await volume.night("larger", { sizeBytes: 13 * MIB + 512, changes: [write(2, 13 * MIB, 512)] });
      await volume.night("larger again", { sizeBytes: 22 * MIB });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("when it shrinks, also into an object", async () => {
      const volume = await create("shrunk", 20 * MIB);
      await volume.night("large", { changes: [write(1, 0, 20 * MIB)] });
      await volume.night("smaller", { sizeBytes: 9 * MIB + 4096 + 17 });
      await volume.night("smallest", { sizeBytes: 4 * MIB, changes: [write(2, MIB, 4096)] });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("when it shrinks and grows again, between two snapshots and over two", async () => {
      const volume = await create("regrown", 20 * MIB);
      await volume.night("large", { changes: [write(1, 0, 20 * MIB)] });
      await volume.image.change([], 5 * MIB + 100);
      await volume.night("regrown at once", { sizeBytes: 20 * MIB, changes: [write(2, 18 * MIB, 5000)] });
      await volume.night("small", { sizeBytes: 3 * MIB, changes: [write(3, 2 * MIB, 100)] });
      await volume.night("regrown later", { sizeBytes: 15 * MIB, changes: [write(4, 10 * MIB + 1, 1000)] });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("when its size is not a multiple of anything", async () => {
      const volume = await create("odd-size", 9 * MIB + 12345);
      await volume.night("one", { changes: [write(1, 7 * MIB, 2 * MIB + 12345)] });
      await volume.night("two", { changes: [write(2, 9 * MIB + 12300, 45), write(3, 5, 5)] });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("when it has no byte, some, and none again", async () => {
      const volume = await create("zero-size", 0);
      await volume.night("nothing");
      await volume.night("something", { sizeBytes: 5000, changes: [write(1, 100, 4900)] });
      await volume.night("nothing again", { sizeBytes: 0 });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);
  });
});
