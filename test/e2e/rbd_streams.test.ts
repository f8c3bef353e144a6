/** The kinds of streams that rbd makes of a real cluster's images, and the names in them. */
import { describe, expect, test } from "bun:test";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { BackupDetails } from "../../src/project/catalog.ts";
import { describeWith } from "../kit/parts.ts";
import { varveBytes } from "../kit/varve.ts";
import { clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { discard, MIB, rbdWords, shell, shellWords, type Word, write } from "../kit/rbd_image.ts";
import { RbdVolume } from "../kit/rbd_volume.ts";

const ODD_NAMES: Word[] = [
  "with some  spaces ",
  "Größe überprüft ✓",
  "'quotes' \"double\" $HOME `id` \\ ; -- #",
  "tab\tand\nline",
  Buffer.from("latin-1 äöü ÿþ", "latin1"),
  "n".repeat(200),
  "latest",
  "~1",
];

describeWith(["Ceph"], "varve and real streams", () => {
  const repository = clusterRepository();
  const create = (name: string, sizeBytes = 9 * MIB) => RbdVolume.create(repository, { name, sizeBytes });
  const details = (point: string) => repository.json<BackupDetails>(["show", point]);

  describe("snapshot names", () => {
    test("that are odd: each point comes back, and show --field to_snapshot prints the bytes", async () => {
      const volume = await create("odd-names", 4 * MIB);
      for (const [night, name] of ODD_NAMES.entries()) {
        await volume.night(name, { changes: [write(night, night * 10_000, 5000)] });
        const args = ["show", volume.name, "--field", "to_snapshot"];
        const { code, bytes } = await varveBytes(args, { env: repository.env });
        expect({ code, bytes: Buffer.from(bytes) })
          .toEqual({ code: 0, bytes: Buffer.concat([Buffer.from(name as Uint8Array), Buffer.from("\n")]) });
      }
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("find a point where they are no point of another kind", async () => {
      const volume = await create("by-name", 4 * MIB);
      for (const [night, name] of ["monday", "a b: c", "latest"].entries()) {
        await volume.night(name, { changes: [write(night, 0, 5000)] });
      }
      const sums = [];
      for (const point of ["monday", "a b: c", "~0", "latest"]) {
        sums.push(await repository.restoreToPipe(`${volume.name}@${point}`));
      }
      const [monday, odd, newest, latest] = sums;
      expect(monday).toEqual(await volume.image.exported("monday"));
      expect(odd).toEqual(await volume.image.exported("a b: c"));
      expect([newest, latest]).toEqual(Array(2).fill(await volume.image.exported("latest")));
    }, TEST_LIMIT_MS);
  });

  describe("the base of an increment", () => {
    test("is refused, with those that there are, where it has no backup", async () => {
      const volume = await create("no-base");
      await volume.night("one", { changes: [write(1, 0, 5000)] });
      await volume.night("two", { changes: [write(2, 0, 5000)] });
      for (const name of ["three", "four"]) await volume.image.snapshot(name);
      const stdin = await volume.image.rbd(
        ...volume.image.exportDiff({ from: "three", to: "four" }).slice(3),
      );
      expect(await repository.run(["backup", volume.name], { stdin })).toEqual({
        code: 1,
        stdout: "",
        stderr:
          `varve: Cannot back up "${volume.name}": the stream starts at snapshot "three", which has not ` +
          'been backed up; these have been: "two", "one"; export from one of them, or without --from-snap\n',
      });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("is refused where the volume has no backup at all", async () => {
      const { image } = await create("nothing-yet");
      for (const name of ["one", "two"]) await image.snapshot(name);
      const stdin = await image.rbd(...image.exportDiff({ from: "one", to: "two" }).slice(3));
      const { code, stderr } = await repository.run(["backup", "acme/nothing-yet"], { stdin });
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/^varve: .*snapshot "one".*no snapshot has been; .*\n$/),
      });
      expect((await repository.run(["list", "acme/nothing-yet"])).code).toBe(4);
    }, TEST_LIMIT_MS);

    test("may be older than the latest backup", async () => {
      const volume = await create("older-base");
      await volume.night("one", { changes: [write(1, 0, 9 * MIB)] });
      await volume.night("two", { changes: [write(2, 0, 5 * MIB)] });
      await volume.image.change([write(3, 4 * MIB - 10, 20)]);
      await volume.image.snapshot("three");
      await volume.pipe(volume.image.exportDiff({ from: "one", to: "three" }));
      await volume.expectPoint("three");
      await volume.assertPoints();
      const [one] = await repository.list(volume.name);
      expect(await details(volume.name)).toMatchObject({ base: one!.backup });
    }, TEST_LIMIT_MS);

    test("is the one that --base names where a name was used again", async () => {
      const volume = await create("used-again");
      const { image } = volume;
      const increment = async (night: string, base: string) => {
        await image.snapshot(night);
        await volume.pipe(image.exportDiff({ from: "one", to: night }), ["--base", base]);
      };
      await volume.night("one", { changes: [write(1, 0, 9 * MIB)] });
      await image.rbd("snap", "rm", "--no-progress", `${image.spec}@one`);
      await image.change([write(2, 2 * MIB, 4 * MIB)]);
      await image.snapshot("one");
      await volume.pipe(image.exportDiff({ to: "one" }));
      const { backup } = (await repository.list(volume.name)).at(-1)!;
      for (const [seed, night] of ["two", "three"].entries()) {
        await image.change([write(seed + 3, MIB, 100)]);
        await increment(night, backup);
      }
      for (const night of ["one", "two", "three"]) {
        expect(await repository.restoreToPipe(`${volume.name}@${night}`)).toEqual(
          await image.exported(night),
        );
      }
    }, TEST_LIMIT_MS);
  });

  describe("streams that are no plain export-diff of two snapshots", () => {
    test("end at the head, which no increment can begin at", async () => {
      const volume = await create("head");
      await volume.night("one", { changes: [write(1, 0, 5000)] });
      await volume.image.change([write(2, 8 * MIB, 5000)]);
      await volume.pipe(volume.image.exportDiff({ from: "one" }));
      await volume.expectPoint(undefined);
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("are made by merge-diff, of a full one and an increment or of two increments", async () => {
      const volume = await create("merged", 8 * MIB);
      const { image } = volume;
      const diff = async (night: string, from?: string) => {
        await image.snapshot(night);
        await shell(
          `${shellWords(image.exportDiff({ from, to: night }))} > ${repository.path(night)}`,
          repository,
        );
      };
      const merge = (first: string, second: string) =>
        rbdWords("merge-diff", "--no-progress", repository.path(first), repository.path(second), "-");
      await image.change([write(1, 0, 3 * MIB)]);
      await diff("one");
      await image.change([write(2, MIB, 4096), discard(2 * MIB, 70_000)]);
      await diff("two", "one");
      await volume.pipe(merge("one", "two"));
      await volume.expectPoint("two");
      await image.change([write(3, MIB + 100, 5000)], 15 * MIB);
      await diff("three", "two");
      await image.change([write(4, 9 * MIB, 5000)], 10 * MIB);
      await diff("four", "three");
      await volume.pipe(merge("three", "four"));
      await volume.expectPoint("four");
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("are of rbd export --export-format 2: one backup per snapshot, and one of the head", async () => {
      const volume = await create("export-2", 8 * MIB);
      const { image } = volume;
      await image.rbd("image-meta", "set", image.spec, "about", "a property ".repeat(1000));
      await image.change([write(1, 0, MIB), write(2, 6 * MIB + 11, 5000)]);
      await image.snapshot("one");
      await image.rbd("snap", "protect", `${image.spec}@one`);
      await image.change([discard(65536, 65536), write(3, 11 * MIB, 7)], 11 * MIB + 7);
      await image.snapshot("zwei für");
      await image.change([write(4, 5 * MIB - 10, 10)], 5 * MIB);
      await image.snapshot("three");
      await image.change([write(5, 3 * MIB, 4096)]);
      await volume.pipe(rbdWords("export", "--no-progress", "--export-format", "2", image.spec, "-"));
      await volume.expectPoint("one", "zwei für", "three", undefined);
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("come from --exec, an increment of what came by a pipe", async () => {
      const volume = await create("exec");
      await volume.night("one", { changes: [write(1, 0, 9 * MIB)] });
      await volume.image.change([write(2, 4 * MIB, 100)]);
      await volume.image.snapshot("two");
      const producer = volume.image.exportDiff({ from: "one", to: "two" }) as string[];
      const report = await repository.json<BackupReport>([
        "backup",
        volume.name,
        "--exec",
        "--",
        ...producer,
      ]);
      expect(report).toMatchObject({
        from_snapshot: "one",
        to_snapshot: "two",
        chunks: { total: 3, changed: 1 },
      });
      await volume.expectPoint("two");
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("are refused where rbd fails under --exec, and the backups stay", async () => {
      const volume = await create("exec-fails");
      await volume.night("one", { changes: [write(1, 0, 5000)] });
      const producer = volume.image.exportDiff({ to: "no such snapshot" }) as string[];
      const { code, stderr } = await repository.run(["backup", volume.name, "--exec", "--", ...producer]);
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(
          /varve: Cannot complete "timeout": it exited with code 2: .*No such file/,
        ),
      });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);
  });
});
