/** `varve backup acme/db rbd:POOL/IMAGE[@SNAP]` on a real cluster: what it sends, and which snapshots it makes and removes. */
import { beforeAll, describe, expect, test } from "bun:test";
import { expectOneLine } from "../kit/repository.ts";
import { describeWith } from "../kit/parts.ts";
import { clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { discard, type ImageOptions, MIB, RbdImage, write } from "../kit/rbd_image.ts";
import { OWN_NAME, SourceVolume } from "../kit/rbd_source.ts";

const SIZE_BYTES = 17 * MIB + 512;

describeWith(["Ceph"], "varve backup of rbd:POOL/IMAGE", () => {
  const repository = clusterRepository();
  const create = async (name: string, options: Partial<ImageOptions> = {}) => {
    const image = await RbdImage.create(repository.env, { sizeBytes: SIZE_BYTES, ...options });
    return new SourceVolume(repository, { image, name });
  };
  /** With content and one backup of it. */
  const begun = async (name: string, options: Partial<ImageOptions> = {}) => {
    const volume = await create(name, options);
    await volume.image.change([write(1, 0, SIZE_BYTES)]);
    const { report } = await volume.backUp();
    return { volume, image: volume.image, first: report };
  };

  beforeAll(async () => {
    await repository.run(["init", "acme", "--no-encryption"]);
  });

  describe("without a snapshot's name", () => {
    test("is full, then increments, byte for byte, and one snapshot stays on the image", async () => {
      const { volume, image, first } = await begun("chain");
      expect(first).toMatchObject({ base: null, from_snapshot: null, chunks: { changed: 5 } });
      expect(first.source_id).toMatch(/^[0-9a-f-]{36}\/\d+\/[0-9a-f]+$/);
      let before = first;
      for (let night = 2; night < 6; night++) {
        await image.change([write(night, night * MIB - 777, 3000), discard(night * 2 * MIB, MIB)]);
        const { report, warnings } = await volume.backUp();
        expect(warnings).toEqual([]);
        expect(report).toMatchObject({
          base: before.backup,
          from_snapshot: before.to_snapshot,
          from_snapshot_id: before.source_snapshot_id,
          source_id: before.source_id,
        });
        expect(report.to_snapshot).toMatch(OWN_NAME);
        expect(report.stream_bytes).toBeLessThan(MIB);
        expect(await image.snapshots()).toEqual([report.to_snapshot as string]);
        before = report;
      }
      const [listed] = (await repository.list(volume.name)).slice(-1);
      const shown = await repository.json(["show", volume.name]);
      for (const point of [listed, shown]) {
        const { source_id, source_snapshot_id, from_snapshot_id } = before;
        expect(point).toMatchObject({ source_id, source_snapshot_id, from_snapshot_id });
      }
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("goes on after the image was resized, and where nothing was written", async () => {
      const { volume, image, first } = await begun("resized");
      await image.change([write(2, 30 * MIB, 5000)], 31 * MIB + 17);
      expect((await volume.backUp()).report).toMatchObject({ base: first.backup, size_bytes: 31 * MIB + 17 });
      await image.change([], 5 * MIB + 100);
      await volume.backUp();
      const { report, warnings } = await volume.backUp();
      expect({ changed: report.chunks.changed, warnings }).toEqual({ changed: 0, warnings: [] });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("works in a namespace, beside an image of the same name outside it", async () => {
      const namespace = `varve-test-${crypto.randomUUID()}`;
      const { image: outside } = await begun("outside");
      await outside.rbd("namespace", "create", `rbd/${namespace}`);
      const { volume, image } = await begun("namespaced", { namespace });
      await image.change([write(2, MIB, 100)]);
      const { report } = await volume.backUp();
      expect({ base: report.base === null, stays: await image.snapshots() })
        .toEqual({ base: false, stays: [report.to_snapshot as string] });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("removes no snapshot but its own, and takes those of users for a base", async () => {
      const { volume, image } = await begun("users");
      const users = ["monday", "varve-20261129T021500.000Z", "varve-00000000-20261129T021500000Z-0000"];
      for (const name of users) await image.snapshot(name);
      const named = await volume.backUp("monday");
      await image.change([write(2, 9 * MIB, 100)]);
      expect((await volume.backUp()).report).toMatchObject({
        base: named.report.backup,
        from_snapshot: "monday",
      });
      const { report } = await volume.backUp();
      expect((await image.snapshots()).toSorted()).toEqual(
        [...users, report.to_snapshot as string].toSorted(),
      );
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("backs up a clone, also once it is flattened, and an image that is cloned from", async () => {
      const { volume, image } = await begun("parent");
      await image.snapshot("golden");
      const clone = new SourceVolume(repository, { image: await image.clone("golden"), name: "clone" });
      await clone.backUp();
      await clone.image.change([write(2, 5 * MIB + 5, 5000)]);
      expect((await clone.backUp()).report).toMatchObject({ chunks: { changed: 1 } });
      await clone.image.rbd("flatten", "--no-progress", clone.image.spec);
      await clone.image.change([write(3, 9 * MIB + 5, 5000)]);
      expect((await clone.backUp()).warnings).toEqual([]);
      await image.change([write(4, 0, 100)]);
      await volume.backUp();
      expect(await image.snapshots()).toContain("golden");
      await Promise.all([volume.assertPoints(), clone.assertPoints()]);
    }, TEST_LIMIT_MS);

    test("says that an older snapshot is protected, and removes it once it is not", async () => {
      const { volume, image, first } = await begun("protected");
      const old = first.to_snapshot as string;
      await image.clone(old);
      const { report, warnings } = await volume.backUp();
      expect(warnings).toEqual([
        `the older snapshot "rbd:${image.spec}@${old}" is kept because it is protected (for a clone)`,
      ]);
      expect(await image.snapshots()).toEqual([old, report.to_snapshot as string]);
      const children = Buffer.from(await image.rbd("children", `${image.spec}@${old}`)).toString().trim();
      await image.rbd("flatten", "--no-progress", children);
      await image.rbd("snap", "unprotect", `${image.spec}@${old}`);
      const next = await volume.backUp();
      expect(next.warnings).toEqual([]);
      expect(await image.snapshots()).toEqual([next.report.to_snapshot as string]);
    }, TEST_LIMIT_MS);
  });

  test("is not made of an image that a restore has left half changed", async () => {
    const { volume, image, first } = await begun("half-restored");
    await image.rbd("image-meta", "set", image.spec, "varve-restore", "before-restore-1");
    expectOneLine(await repository.run(volume.words()), {
      code: 1,
      line: `Cannot back up "rbd:${image.spec}": an unfinished restore has left it inconsistent; ` +
        `rerun rbd-restore.sh, or if that is wrong, "rbd image-meta remove ${image.spec} varve-restore"`,
    });
    expect(await image.snapshots()).toEqual([first.to_snapshot as string]);
    await image.rbd("image-meta", "remove", image.spec, "varve-restore");
    expect((await volume.backUp()).report).toMatchObject({ base: first.backup });
  }, TEST_LIMIT_MS);

  test("says where the backup before it was of another image", async () => {
    const { volume, first } = await begun("fed-wrong");
    const { image: other } = await begun("fed-right");
    const wrong = new SourceVolume(repository, { image: other, name: "fed-wrong" });
    const mistaken = await wrong.backUp();
    const { report, warnings } = await volume.backUp();
    expect(report.base).toBe(first.backup);
    expect(warnings).toEqual([
      `the restore point before this one, ${mistaken.report.backup}, is of another image than "rbd:${volume.image.spec}"`,
    ]);
    expect((await volume.backUp()).warnings).toEqual([]);
  }, TEST_LIMIT_MS);

  describe("goes full, and says why,", () => {
    const full = (volume: SourceVolume, reason: string) =>
      `"rbd:${volume.image.spec}" is backed up in full: ${reason}`;

    test("where the image was removed and made anew under its name", async () => {
      const { volume, image, first } = await begun("image-anew");
      await image.remake();
      await image.change([write(2, MIB, 9 * MIB)]);
      const { report, warnings } = await volume.backUp();
      expect(report.base).toBeNull();
      expect(report.source_id).not.toBe(first.source_id);
      expect(warnings).toEqual([
        full(volume, "it is not the image that was backed up before, even if it has the same name"),
      ]);
      await image.change([write(3, 5 * MIB, 10)]);
      expect(await volume.backUp()).toMatchObject({ report: { base: report.backup }, warnings: [] });
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("where a snapshot was removed and made anew under its name", async () => {
      const volume = await create("snapshot-anew");
      const { image } = volume;
      await image.change([write(1, 0, SIZE_BYTES)]);
      await image.snapshot("monday");
      await volume.backUp("monday");
      await image.removeSnapshot("monday");
      await image.change([write(2, 4 * MIB - 5, 10)]);
      await image.snapshot("monday");
      await image.change([write(3, 9 * MIB, 10)]);
      await image.snapshot("tuesday");
      const reason = 'its snapshot "monday" was recreated after it was backed up';
      const { report, warnings } = await volume.backUp("tuesday");
      expect({ base: report.base, warnings }).toEqual({ base: null, warnings: [full(volume, reason)] });
      const again = await volume.backUp("monday");
      expect(again.warnings).toEqual([full(volume, reason)]);
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test("where its last snapshot was removed, and where a pipe made the earlier points", async () => {
      const { volume, image, first } = await begun("snapshot-gone");
      await image.removeSnapshot(first.to_snapshot as string);
      expect((await volume.backUp()).warnings).toEqual([
        full(volume, "none of its snapshots that were backed up exists any more"),
      ]);
      const piped = new SourceVolume(repository, { image, name: "was-piped" });
      await image.snapshot("by-hand");
      const stdin = await image.rbd(...image.exportDiff({ to: "by-hand" }).slice(3));
      await repository.json(["backup", piped.name], { stdin });
      expect((await piped.backUp()).warnings).toEqual([
        full(piped, "its restore points do not record the id of their image"),
      ]);
    }, TEST_LIMIT_MS);

    test("and without a word with --full", async () => {
      const { volume, image } = await begun("full");
      const { report, warnings } = await volume.backUp(undefined, ["--full"]);
      expect({ base: report.base, warnings }).toEqual({ base: null, warnings: [] });
      expect(await image.snapshots()).toEqual([report.to_snapshot as string]);
    }, TEST_LIMIT_MS);
  });

  describe("with a snapshot's name", () => {
    test(
      "begins at an older one, though a newer one is backed up, and at itself when it is repeated",
      async () => {
        const volume = await create("named");
        const { image } = volume;
        const names = ["one", "-x zwei für", "three"];
        for (const [seed, name] of names.entries()) {
          await image.change([write(seed, seed * 4 * MIB, 5 * MIB)]);
          await image.snapshot(name);
        }
        const one = await volume.backUp("one");
        await volume.backUp("three");
        const two = await volume.backUp("-x zwei für");
        expect(two.report).toMatchObject({ base: one.report.backup, to_snapshot: "-x zwei für" });
        expect(await volume.backUp("-x zwei für")).toMatchObject({
          warnings: [],
          report: { base: two.report.backup, chunks: { changed: 0 } },
        });
        expect(await image.snapshots()).toEqual(names);
        await volume.assertPoints();
      },
      TEST_LIMIT_MS,
    );
  });

  describe("ends with one line", () => {
    const run = async (word: string, env: Record<string, string> = {}) =>
      await repository.run(["backup", "acme/nothing", word], { env });

    test("and 4 where the pool, image, namespace or snapshot is not there", async () => {
      const { image } = await create("there");
      const cases = [
        ["rbd:varve-no-pool/x", 'Cannot find "rbd:varve-no-pool/x": the pool "varve-no-pool" does not exist'],
        [
          "rbd:rbd/varve-none",
          'Cannot find "rbd:rbd/varve-none": the image does not exist; see "rbd ls rbd"',
        ],
        [
          "rbd:rbd/varve-none/x",
          'Cannot find "rbd:rbd/varve-none/x": the pool has no namespace "varve-none"; see "rbd namespace ls rbd"',
        ],
        [`rbd:${image.spec}@none`, `Cannot find "rbd:${image.spec}@none": the image has no such snapshot`],
      ] as const;
      for (const [word, line] of cases) expectOneLine(await run(word), { code: 4, line });
      expect((await repository.run(["list", "acme/nothing"])).code).toBe(4);
    }, TEST_LIMIT_MS);

    test("and 2 where the image is not written as one, or with options of streams", async () => {
      for (const word of ["rbd:x", "rbd:a/b@c@d", "rbd:a/b/c/d", "rbd:a@s/b"]) {
        expectOneLine(await run(word), { code: 2, line: `Cannot read "${word}" as an image` });
      }
      for (const args of [["rbd:rbd/x"], ["rbd:rbd/x", "acme/nothing"]]) {
        const result = await repository.run(["backup", ...args]);
        expectOneLine(result, { code: 2, line: "that is an image; the volume comes first" });
      }
      for (const args of [["--format", "raw"], ["--base", "x"], ["--source-id", "x"]]) {
        const result = await repository.run(["backup", "acme/nothing", "rbd:rbd/x", ...args]);
        expectOneLine(result, { code: 2, line: `Cannot back up "rbd:rbd/x" with ${args[0]}` });
      }
      expectOneLine(await repository.run(["backup", "acme/nothing", "/dev/null", "--full"]), {
        code: 2,
        line: "--full",
      });
    }, TEST_LIMIT_MS);

    test(
      "and 1 where rbd is not installed, the cluster does not let us in, or has no rights for us",
      async () => {
        const { image } = await create("forbidden");
        const word = `rbd:${image.spec}`;
        expectOneLine(await run(word, { PATH: "/varve-none" }), {
          code: 1,
          line: "it is not installed",
        });
        const unknown = await run(word, { CEPH_ARGS: "--id varve-nobody" });
        expectOneLine(unknown, { code: 1, line: `Cannot reach the cluster of "${word}": ` });
        const keyring = repository.path("reader.keyring");
        const caps = ["mon", "profile rbd", "osd", "profile rbd-read-only pool=rbd"];
        const reader = `client.varve-reader-${crypto.randomUUID()}`;
        await Bun.$`ceph auth get-or-create ${reader} ${caps} -o ${keyring}`.env({
          ...process.env,
          ...repository.env,
        }).quiet();
        const denied = await run(word, { CEPH_ARGS: `--name ${reader} --keyring ${keyring}` });
        expectOneLine(denied, { code: 1, line: `Cannot create a snapshot of "${word}": ` });
        expect(await image.snapshots()).toEqual([]);
      },
      TEST_LIMIT_MS,
    );
  });
});
