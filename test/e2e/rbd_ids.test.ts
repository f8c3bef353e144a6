/** Increments that come by a pipe and do not fit their base, on a real cluster; and points compared with `rbd:…`. */
import { beforeAll, describe, expect, test } from "bun:test";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { messages } from "../kit/log.ts";
import { describeWith } from "../kit/parts.ts";
import { expectOneLine } from "../kit/repository.ts";
import { clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { MIB, RbdImage, write } from "../kit/rbd_image.ts";
import { HeldRbd, SourceVolume } from "../kit/rbd_source.ts";

const SIZE_BYTES = 9 * MIB;

describeWith(["Ceph"], "an increment by a pipe", () => {
  const repository = clusterRepository();
  const create = async (seed: number) => {
    const image = await RbdImage.create(repository.env, { sizeBytes: SIZE_BYTES });
    await image.change([write(seed, 0, SIZE_BYTES)]);
    return image;
  };
  /** `rbd export-diff | varve backup` with more arguments. */
  const pipe = async (
    volume: string,
    { image, from, to, args = [] }: { image: RbdImage; from?: string; to: string; args?: string[] },
  ) => {
    const stdin = await image.rbd(...image.exportDiff({ from, to }).slice(3));
    return await repository.run(["backup", volume, "--json", ...args], { stdin });
  };
  const done = ({ code, stdout, stderr }: { code: number | null; stdout: string; stderr: string }) => {
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    return { report: JSON.parse(stdout) as BackupReport, warnings: messages(stderr) };
  };
  const restored = (volume: string) => repository.restoreToPipe(volume);

  beforeAll(async () => {
    await repository.run(["init", "acme", "--no-encryption"]);
  });

  test("of another image is refused by --source-id, and a full one heals the volume", async () => {
    const [vm, db] = [await create(1), await create(2)];
    for (const image of [vm, db]) for (const name of ["z1", "z2"]) await image.snapshot(name);
    const volume = "acme/swapped";
    done(await pipe(volume, { image: vm, to: "z1", args: ["--source-id", "vm"] }));
    const swapped = await pipe(volume, { image: db, from: "z1", to: "z2", args: ["--source-id", "db"] });
    expectOneLine(swapped, {
      code: 11,
      line:
        /starts at snapshot "z1", but .* from another source \(id "vm", not "db"\); export without --from-snap/,
    });
    expect(await restored(volume)).toEqual(await vm.exported("z1"));
    done(await pipe(volume, { image: db, to: "z2", args: ["--source-id", "db"] }));
    expect(await restored(volume)).toEqual(await db.exported("z2"));
  }, TEST_LIMIT_MS);

  test("since a snapshot that was made anew is refused by its id", async () => {
    const image = await create(1);
    const volume = "acme/monday";
    const idOf = async (name: string) => {
      const list = JSON.parse(
        Buffer.from(await image.rbd("snap", "ls", "--format", "json", image.spec)).toString(),
      );
      return String(list.find((snapshot: { name: string }) => snapshot.name === name).id);
    };
    const ids = async (to: string, from?: string) => [
      ...["--source-id", "vm", "--source-snapshot-id", await idOf(to)],
      ...from === undefined ? [] : ["--from-snapshot-id", await idOf(from)],
    ];
    await image.snapshot("monday");
    done(await pipe(volume, { image, to: "monday", args: await ids("monday") }));
    await image.removeSnapshot("monday");
    await image.change([write(2, 4 * MIB, 5000)]);
    await image.snapshot("monday");
    await image.change([write(3, MIB, 5000)]);
    await image.snapshot("tuesday");
    const stale = await pipe(volume, {
      image,
      from: "monday",
      to: "tuesday",
      args: await ids("tuesday", "monday"),
    });
    expectOneLine(stale, {
      code: 11,
      line: /from another snapshot \(id "\d+", not "\d+"\); export without --from-snap/,
    });
    const again = done(await pipe(volume, { image, to: "monday", args: await ids("monday") }));
    expect(again.warnings).toEqual([]);
    const { report } = done(
      await pipe(volume, { image, from: "monday", to: "tuesday", args: await ids("tuesday", "monday") }),
    );
    expect(report).toMatchObject({ base: again.report.backup, from_snapshot_id: await idOf("monday") });
    expect(await restored(volume)).toEqual(await image.exported("tuesday"));
  }, TEST_LIMIT_MS);

  test("whose base is ambiguous is refused, and --base names it", async () => {
    const image = await create(1);
    const volume = "acme/ambiguous";
    await image.snapshot("one");
    const first = done(await pipe(volume, { image, to: "one" }));
    const other = await create(5);
    await other.snapshot("one");
    expect(done(await pipe(volume, { image: other, to: "one" })).warnings).toHaveLength(1);
    await image.change([write(2, MIB, 5000)]);
    await image.snapshot("two");
    const refused = await pipe(volume, { image, from: "one", to: "two" });
    expectOneLine(refused, { code: 11, line: "there are different restore points of that name" });
    const args = ["--base", first.report.backup];
    expect(done(await pipe(volume, { image, from: "one", to: "two", args })).report.base).toBe(
      first.report.backup,
    );
    expect(await restored(volume)).toEqual(await image.exported("two"));
  }, TEST_LIMIT_MS);

  test("goes on from a point of rbd:…, with the ids that show tells", async () => {
    const image = await create(1);
    const volume = new SourceVolume(repository, { image, name: "goes-on" });
    await image.snapshot("one");
    const { report } = await volume.backUp("one");
    await image.change([write(2, MIB, 5000)]);
    await image.snapshot("two");
    const field = async (name: string) =>
      (await repository.run(["show", volume.name, "--field", name])).stdout.trim();
    const args = [
      "--source-id",
      await field("source_id"),
      "--from-snapshot-id",
      await field("source_snapshot_id"),
    ];
    expect(done(await pipe(volume.name, { image, from: "one", to: "two", args })).report.base).toBe(
      report.backup,
    );
    expect(await restored(volume.name)).toEqual(await image.exported("two"));
    expect(await field("source_snapshot_id")).toBe("");
  }, TEST_LIMIT_MS);

  describe("verify --source rbd:POOL/IMAGE@SNAP", () => {
    const begun = async (name: string) => {
      const image = await create(1);
      const volume = new SourceVolume(repository, { image, name });
      await image.snapshot("one");
      await volume.backUp("one");
      const compare = (word: string, env: Record<string, string> = {}) =>
        repository.run(["verify", volume.name, "--source", word], { env });
      return { image, volume, compare };
    };

    test("vouches for the snapshot that was backed up, and says when it is another", async () => {
      const { image, compare } = await begun("verified");
      const same = await compare(`rbd:${image.spec}@one`);
      expect({ code: same.code, stderr: same.stderr }).toEqual({ code: 0, stderr: "" });
      await image.change([write(2, MIB, 5000)]);
      await image.snapshot("two");
      const { code, stderr } = await compare(`rbd:${image.spec}@two`);
      expect(code).toBe(3);
      expect(messages(stderr)).toEqual([
        expect.stringMatching(/@two" has another snapshot id than restore point \S+/),
      ]);
      expect(stderr).toMatch(
        /differ from "rbd:\S+@two": its id shows that it is not the snapshot that was backed up\n$/,
      );
    }, TEST_LIMIT_MS);

    test("wants a snapshot, one that is there, and that stays there", async () => {
      const { image, compare } = await begun("not-verified");
      const word = `rbd:${image.spec}`;
      expectOneLine(await compare(word), { code: 2, line: `it needs a snapshot, as ${word}@SNAP` });
      expectOneLine(await compare(`${word}@none`), { code: 4, line: `Cannot find "${word}@none"` });
      const rbd = new HeldRbd(repository.path("held-rbd"), "after");
      const comparing = compare(`${word}@one`, rbd.env);
      await rbd.reading();
      await image.removeSnapshot("one");
      rbd.letGo();
      expectOneLine(await comparing, { code: 11, line: 'its snapshot "one" was removed while it was read' });
    }, TEST_LIMIT_MS);

    test("is read for a repair, too", async () => {
      const { image, volume } = await begun("repaired");
      const chunks = repository.path("repository/projects/acme/chunks");
      await Bun.$`rm -r ${chunks}`;
      expect((await repository.run(["verify", volume.name])).code).toBe(3);
      const { code, stderr } = await repository.run([
        "repair",
        volume.name,
        "--source",
        `rbd:${image.spec}@one`,
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(await restored(volume.name)).toEqual(await image.exported("one"));
    }, TEST_LIMIT_MS);
  });
});
