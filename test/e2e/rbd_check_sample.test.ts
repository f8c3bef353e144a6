/** `backup --check-sample` on a real cluster: what was not in the increment is read from the image, and an increment that does not fit is refused. */
import { expect, setDefaultTimeout, test } from "bun:test";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { describeWith } from "../kit/parts.ts";
import { clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { discard, KIB, MIB, RbdImage, shell, shellWords, write } from "../kit/rbd_image.ts";
import { VARVE_BIN } from "../kit/varve.ts";

setDefaultTimeout(TEST_LIMIT_MS);

const ALL = ["--check-sample", "1/1"];

describeWith(["Ceph"], "varve backup rbd: --check-sample", () => {
  const repository = clusterRepository();
  const backUp = (volume: string, image: RbdImage, ...args: string[]) =>
    repository.json<BackupReport>(["backup", volume, `rbd:${image.spec}${args[0] ?? ""}`, ...args.slice(1)]);

  async function expectEqual(volume: string, image: RbdImage, snapshot: string): Promise<void> {
    expect(await repository.restoreToPipe(`${volume}@${snapshot}`)).toEqual(await image.exported(snapshot));
  }

  const LAYOUTS: [name: string, create: string[]][] = [
    ["objects of 4 MiB", []],
    ["objects of 64 KiB", ["--object-size", "64K"]],
    ["objects of 8 MiB", ["--object-size", "8M"]],
    ["stripes", ["--object-size", "1M", "--stripe-unit", "64K", "--stripe-count", "4"]],
    ["no object map", ["--image-feature", "layering"]],
  ];

  test.each(LAYOUTS)("reads %s as rbd itself does, while the head goes on", async (name, create) => {
    const sizeBytes = 25 * MIB + 512;
    const image = await RbdImage.create(repository.env, { sizeBytes, create });
    const volume = `acme/${name.replaceAll(" ", "-")}`;
    await image.change([write(1, 100, 9 * MIB), write(2, 17 * MIB, 5 * MIB), write(3, sizeBytes - 3, 3)]);
    await image.snapshot("one");
    await image.change([write(4, 2 * MIB, 3 * MIB), discard(18 * MIB, MIB)]);
    const full = await backUp(volume, image, "@one", ...ALL);
    await image.snapshot("two");
    await image.change([write(5, 0, 25 * MIB)]);
    const next = await backUp(volume, image, "@two", ...ALL);
    expect({ base: next.base, full: full.base }).toEqual({ base: full.backup, full: null });
    for (const report of [full, next]) expect(report.checked_chunks).toBeGreaterThan(0);
    expect(next.checked_chunks).toBeLessThanOrEqual(7);
    await expectEqual(volume, image, "one");
    await expectEqual(volume, image, "two");
  });

  test("reads a clone through to its parent, and an image that has shrunk and grown", async () => {
    const parent = await RbdImage.create(repository.env, { sizeBytes: 24 * MIB });
    await parent.change([write(1, MIB, 20 * MIB)]);
    await parent.snapshot("golden");
    const clone = await parent.clone("golden");
    await clone.change([write(2, 5 * MIB, KIB), discard(12 * MIB, 4 * MIB)]);
    await clone.snapshot("one");
    expect((await backUp("acme/clone", clone, "@one", ...ALL)).checked_chunks).toBeGreaterThan(0);
    await clone.change([write(3, 3 * MIB, KIB)], 10 * MIB + 700);
    await clone.snapshot("cut");
    await clone.change([], 30 * MIB);
    await clone.snapshot("grown");
    for (const snapshot of ["cut", "grown"]) {
      expect((await backUp("acme/clone", clone, `@${snapshot}`, ...ALL)).base).not.toBeNull();
      await expectEqual("acme/clone", clone, snapshot);
    }
  });

  test("reads an image in a namespace", async () => {
    const image = `rbd/varve-check/${crypto.randomUUID()}`;
    const rbd = (words: string) => `timeout 60 rbd ${words}`;
    const lines = [
      `${rbd("namespace create rbd/varve-check")} || ${rbd("namespace ls rbd")} | grep -q varve-check`,
      `head -c 3M /dev/urandom | ${rbd(`import --no-progress - ${image}`)}`,
      rbd(`resize --no-progress --size 9M ${image}`),
      rbd(`snap create --no-progress ${image}@one`),
    ];
    for (const line of lines) await shell(line, { env: repository.env });
    const args = ["backup", "acme/namespace", `rbd:${image}@one`, ...ALL];
    expect((await repository.json<BackupReport>(args)).checked_chunks).toBe(3);
  });

  test("refuses an increment of an image whose base was another's, with 11, and leaves nothing behind", async () => {
    const [db, vm] = [
      await RbdImage.create(repository.env, { sizeBytes: 24 * MIB }),
      await RbdImage.create(repository.env, { sizeBytes: 24 * MIB }),
    ];
    await db.change([write(1, 0, 24 * MIB)]);
    await vm.change([write(2, 0, 24 * MIB)]);
    for (const image of [db, vm]) await image.snapshot("z1");
    // A script whose ids are of one image, and whose stream is of the other.
    const ids = await idsOf(db, "z1");
    const producer = shellWords(vm.exportDiff({ to: "z1" }));
    await shell(`${producer} | ${shellWords([VARVE_BIN, "backup", "acme/swapped", ...ids])}`, {
      env: repository.env,
    });
    await db.change([write(3, 9 * MIB, MIB)]);
    await db.snapshot("z2");
    const before = await repository.list("acme/swapped");

    const args = ["backup", "acme/swapped", `rbd:${db.spec}@z2`];
    const refused = await repository.run([...args, ...ALL]);
    expect(refused).toMatchObject({ code: 11, stdout: "" });
    expect(refused.stderr).toMatch(
      /^varve: Cannot back up "acme\/swapped": the stream does not follow "acme\/swapped@\w+-\w+", which differs from .* at offset 0, outside the stream; nothing was committed; back up in full, with --full\n$/,
    );
    expect(await repository.list("acme/swapped")).toEqual(before);
    const own = await repository.run([
      "backup",
      "acme/swapped",
      `rbd:${db.spec}`,
      "--check-sample",
      "1/9999",
    ]);
    expect(own.code).toBe(11);
    expect(await repository.list("acme/swapped")).toEqual(before);
    expect(await snapshotsOf(db)).toEqual(["z1", "z2"]);

    const { base, checked_chunks } = await repository.json<BackupReport>([...args, "--full", ...ALL]);
    expect({ base, checked_chunks }).toEqual({ base: null, checked_chunks: 0 });
    await expectEqual("acme/swapped", db, "z2");
  });

  /** The ids of a snapshot as `varve backup` takes them, out of those that it gives for `rbd:` itself. */
  async function idsOf(image: RbdImage, snapshot: string): Promise<string[]> {
    const report = await backUp("acme/asked", image, `@${snapshot}`);
    const { source_id, source_snapshot_id } = report;
    if (source_id == null || source_snapshot_id == null) throw new Error("rbd: gave no ids");
    return ["--source-id", source_id, "--source-snapshot-id", source_snapshot_id];
  }

  async function snapshotsOf(image: RbdImage): Promise<string[]> {
    const list = await image.rbd("snap", "ls", "--format", "json", image.spec);
    return (JSON.parse(Buffer.from(list).toString()) as { name: string }[]).map(({ name }) => name);
  }
});
