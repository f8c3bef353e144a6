/** `varve restore --exec` with Ceph's own tools: a new image and one in place, whole or said to be not. */
import { beforeAll, expect, test } from "bun:test";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { flipBit } from "../kit/damage.ts";
import { describeWith } from "../kit/parts.ts";
import { expectOneLine } from "../kit/repository.ts";
import { startVarve } from "../kit/varve.ts";
import { BOOT_LIMIT_MS, clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { discard, MIB, RbdImage, write } from "../kit/rbd_image.ts";
import { RbdVolume } from "../kit/rbd_volume.ts";

const SIZE_BYTES = 40 * MIB;

describeWith(["Ceph"], "varve restore --exec and images of a real cluster", () => {
  const bench = clusterRepository();
  let volume: RbdVolume;
  beforeAll(async () => {
    volume = await RbdVolume.create(bench, { name: "volume", sizeBytes: SIZE_BYTES });
    await volume.night("monday", { changes: [write(1, 0, 30 * MIB), write(2, 39 * MIB, MIB)] });
    await volume.night("tuesday", { changes: [write(3, 5 * MIB, 100), discard(9 * MIB, 8 * MIB)] });
  }, BOOT_LIMIT_MS);

  const importing = (point: string, image: RbdImage, ...options: string[]) => [
    ...["restore", `${volume.name}@${point}`, ...options, "--exec", "--"],
    ...["rbd", "import", "--no-progress", "-", image.spec],
  ];
  const isThere = (image: RbdImage) => image.rbd("info", image.spec).then(() => true, () => false);

  test("makes a new image of each point, and leaves one that is there", async () => {
    for (const point of ["monday", "tuesday"]) {
      const image = RbdImage.unmade(bench.env);
      expect(await bench.run(importing(point, image))).toMatchObject({ code: 0, stdout: "", stderr: "" });
      expect(await image.exported()).toEqual(await volume.image.exported(point));
      const again = await bench.run(importing(point === "monday" ? "tuesday" : "monday", image));
      expect(again.code).toBe(1);
      expect(again.stderr.trimEnd().split("\n").at(-1)).toMatch(
        /^varve: Cannot complete "rbd": it exited with code 17: .*exists$/,
      );
      expect(await image.exported()).toEqual(await volume.image.exported(point));
    }
  }, TEST_LIMIT_MS);

  test("makes no image of a point that is not there, or whose data is gone", async () => {
    const image = RbdImage.unmade(bench.env);
    expectOneLine(await bench.run(importing("nosuch", image)), { code: 4, line: "Cannot find" });
    const damaged = bench.path("damaged");
    cpSync(bench.path("repository"), damaged, { recursive: true });
    const chunks = join(damaged, "projects/acme/chunks");
    for (const { parentPath, name } of readdirSync(chunks, { recursive: true, withFileTypes: true })) {
      const path = join(parentPath, name);
      if (name.length < 10) continue; // a folder
      const bytes = new Uint8Array(readFileSync(path));
      writeFileSync(path, flipBit(bytes, bytes.length * 4));
    }
    const env = { VARVE_REPO: damaged, XDG_CACHE_HOME: bench.path("no-cache") };
    expectOneLine(await bench.run(importing("monday", image), { env }), { code: 3, line: "Cannot restore" });
    expect(await isThere(image)).toBe(false);
  }, TEST_LIMIT_MS);

  test("says what to do with the image of which a part was made when it is interrupted", async () => {
    const image = RbdImage.unmade(bench.env);
    const child = startVarve(importing("monday", image, "--limit-rate", "4M"), { env: bench.env });
    while (!await isThere(image)) await Bun.sleep(10);
    child.kill("SIGTERM");
    const stderr = await new Response(child.stderr).text();
    expect({ code: await child.exited, stderr }).toEqual({
      code: 130,
      stderr:
        'varve: Interrupted: "rbd" was killed before it had read everything; remove or roll back its output\n',
    });
    // The cluster lets a dead client hold it for half a minute.
    const isRemoved = () => image.rbd("rm", "--no-progress", image.spec).then(() => true, () => false);
    while (!await isRemoved()) await Bun.sleep(1000);
    expect(await bench.run(importing("monday", image))).toMatchObject({ code: 0 });
    expect(await image.exported()).toEqual(await volume.image.exported("monday"));
  }, TEST_LIMIT_MS);

  test("brings an image back that was rolled back to a snapshot, by the difference", async () => {
    const { image } = volume;
    await image.change([write(9, 20 * MIB, 5000)]);
    await image.rbd("snap", "rollback", "--no-progress", `${image.spec}@tuesday`);
    const args = ["restore", `${volume.name}@monday`, "--format", "rbd-diff", "--from", "tuesday", "--head"];
    const command = ["rbd", "import-diff", "--no-progress", "-", image.spec];
    expect(await bench.run([...args, "--exec", "--", ...command])).toMatchObject({ code: 0, stderr: "" });
    expect(await image.exported()).toEqual(await image.exported("monday"));
  }, TEST_LIMIT_MS);
});
