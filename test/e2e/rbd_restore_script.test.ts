/** examples/rbd-restore.sh with the built program and a real cluster: an image in place, on good days and bad ones. */
import { afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeWith } from "../kit/parts.ts";
import { VARVE_BIN } from "../kit/varve.ts";
import { BOOT_LIMIT_MS, clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { discard, MIB, RbdImage, shell, write } from "../kit/rbd_image.ts";
import type { Sum } from "../kit/workbench.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
const SIZE_BYTES = 24 * MIB;

interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

describeWith(["Ceph"], "examples/rbd-restore.sh", () => {
  const bench = clusterRepository();
  const bin = bench.path("bin");
  let image: RbdImage;
  let volume: string;
  /** What the volume's points hold, oldest first. */
  let points: Sum[];

  beforeAll(() => {
    mkdirSync(bin);
    symlinkSync(VARVE_BIN, join(bin, "varve"));
    Object.assign(bench.env, { RBD_BACKUP_LOCK_FOLDER: bench.folder, PATH: `${bin}:${process.env.PATH}` });
  }, BOOT_LIMIT_MS);
  beforeEach(async () => {
    volume = `acme/${crypto.randomUUID()}`;
    points = [];
    image = await RbdImage.create(bench.env, { sizeBytes: SIZE_BYTES });
    await night([write(1, 0, 10 * MIB), write(2, 20 * MIB + 5, MIB)]);
    await night([write(3, 5 * MIB, 100), discard(8 * MIB, MIB), write(4, 30 * MIB, 1000)], 31 * MIB);
  }, TEST_LIMIT_MS);
  afterEach(() => rmSync(join(bin, "rbd"), { force: true }));

  async function night(...changes: Parameters<RbdImage["change"]>): Promise<void> {
    await image.change(...changes);
    expect(await script("rbd-backup.sh", image.spec, volume)).toEqual({ code: 0, stdout: "", stderr: "" });
    points.push(await image.exported());
  }

  const start = (name: string, ...args: string[]) =>
    Bun.spawn(["setsid", join(EXAMPLES, name), ...args], { env: bench.env, stdout: "pipe", stderr: "pipe" });

  async function ended(child: ReturnType<typeof start>): Promise<Result> {
    const [stdout, stderr] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    return { code: await child.exited, stdout, stderr };
  }

  const script = (name: string, ...args: string[]) => ended(start(name, ...args));
  const restore = (point: string, ...options: string[]) =>
    script("rbd-restore.sh", ...options, `${volume}${point}`, image.spec);

  /** Does something else in the place of `rbd`; `"$@"` is what the real one would be given. */
  function rbdIs(body: string): void {
    const real = Bun.which("rbd", { PATH: process.env.PATH! });
    writeFileSync(join(bin, "rbd"), `#!/bin/bash\nrbd() { ${real} "$@"; }\n${body}\nexec ${real} "$@"\n`, {
      mode: 0o755,
    });
  }

  async function snapshots(): Promise<string[]> {
    const listed = await image.rbd("snap", "ls", "--format", "json", image.spec);
    return (JSON.parse(Buffer.from(listed).toString()) as { name: string }[]).map(({ name }) => name);
  }

  async function isMarked(): Promise<boolean> {
    const listed = await image.rbd("image-meta", "list", "--format", "json", image.spec);
    return Buffer.from(listed).includes("varve-restore");
  }

  const lastLine = ({ stderr }: Result) => stderr.trimEnd().split("\n").at(-1);
  const safetySnapshots = async () =>
    (await snapshots()).filter((name) => name.startsWith("before-restore-"));

  async function expectUnchanged(head: Sum, names: string[]): Promise<void> {
    expect(await image.exported()).toEqual(head);
    expect(await snapshots()).toEqual(names);
    expect(await isMarked()).toBe(false);
  }

  test("brings an image back that was written to since its snapshot, and keeps what it was", async () => {
    await image.change([write(9, 3 * MIB, 2 * MIB), discard(20 * MIB, 2 * MIB)], 28 * MIB);
    const before = await image.exported();
    const { code, stdout, stderr } = await restore("@~1");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(await image.exported()).toEqual(points[0]!);
    const [safety] = await safetySnapshots();
    expect(await image.exported(safety)).toEqual(before);
    expect(stdout).toContain(`rbd snap rm ${image.spec}@${safety}\n`);
    expect(await isMarked()).toBe(false);

    // And forward again, from the older snapshot's point of view; then the nights go on.
    expect(await restore("", "--no-safety-snapshot")).toMatchObject({ code: 0, stderr: "" });
    expect(await image.exported()).toEqual(points[1]!);
    await night([write(5, MIB, 10)]);
    expect(await safetySnapshots()).toEqual([safety!]);
    for (const [at, sum] of points.entries()) {
      const point = `${volume}@~${points.length - 1 - at}`;
      expect(await bench.restoreToFile(point, bench.path("restored"))).toEqual(sum);
    }
  }, TEST_LIMIT_MS);

  /** While somebody uses the image. */
  async function whileInUse(work: () => Promise<void>): Promise<void> {
    const user = Bun.spawn(["rbd", "watch", image.spec], { env: bench.env, stdin: "pipe" });
    try {
      while (!Buffer.from(await image.rbd("status", image.spec)).includes("watcher=")) await Bun.sleep(50);
      await work();
    } finally {
      user.kill("SIGINT");
      await user.exited;
    }
  }

  test("leaves an image that is in use", async () => {
    const [head, names] = [await image.exported(), await snapshots()];
    await whileInUse(async () => {
      const result = await restore("@~1");
      expect(result).toMatchObject({ code: 22, stdout: "" });
      expect(result.stderr).toMatch(
        /^rbd-restore: .*: nothing was changed: the image is in use at [\d.:/]+; .*\n$/,
      );
    });
    await expectUnchanged(head, names);
  }, TEST_LIMIT_MS);

  test("says that a mixture is one where it stops early, and how to go on and back", async () => {
    await image.change([write(9, 0, 9 * MIB)]);
    rbdIs("[[ $1 != import-diff ]] || exit 5");
    expect((await restore("@~1")).code).not.toBe(0);
    rmSync(join(bin, "rbd"));
    const [safety] = await safetySnapshots();
    const back =
      `; to go back: rbd snap rollback ${image.spec}@${safety} && rbd image-meta remove ${image.spec} ` +
      "varve-restore";
    const expectMixture = (result: Result, code: number, next: string) => {
      expect({ code: result.code, stdout: result.stdout }).toEqual({ code, stdout: "" });
      expect(result.stderr).toContain("cannot go on: ");
      expect(result.stderr).not.toContain("nothing was changed");
      expect(lastLine(result)).toEndWith(`NOT USABLE: the image is a mixture. To go on: ${next}${back}`);
    };
    const again = "run the same command again";
    await whileInUse(async () => expectMixture(await restore("@~1"), 22, again));
    expectMixture(await restore("@nosuch"), 4, again);
    const wanted = (await bench.list(volume))[0]!.backup;
    const others = (await snapshots()).filter((name) => name !== safety);
    for (const name of others) {
      await image.rbd("snap", "rm", "--no-progress", `${image.spec}@${name}`);
    }
    const instead = `restore to a new image: varve restore '${volume}@id:${wanted}' --exec -- rbd import ` +
      "--no-progress - NEW-IMAGE";
    expectMixture(await restore("@~1"), 23, instead);
    expect(await isMarked()).toBe(true);
  }, TEST_LIMIT_MS);

  test("leaves an image of which no snapshot was backed up, and says how to make a new one", async () => {
    const [name] = await snapshots();
    await image.rbd("snap", "purge", "--no-progress", image.spec);
    await image.rbd("snap", "create", "--no-progress", `${image.spec}@${name}`); // of the same name
    const head = await image.exported();
    const result = await restore("@~1");
    expect(result.code).toBe(23);
    await expectUnchanged(head, [name!]);
    const [, command] = /restore to a new image: (.*)\n$/.exec(result.stderr)!;
    const made = RbdImage.unmade(bench.env);
    await shell(command!.replace("NEW-IMAGE", made.spec), { env: bench.env });
    expect(await made.exported()).toEqual(points[0]!);
  }, TEST_LIMIT_MS);

  test("goes on after kill -9 in the middle, and no backup is made of the mixture", async () => {
    await image.change([write(9, 0, 9 * MIB)]);
    const before = await image.exported();
    const names = await snapshots();
    const reached = bench.path("reached");
    rbdIs(`[[ $1 != import-diff ]] || { head -c 100000 >/dev/null; : >'${reached}'; exec sleep 600; }`);
    const child = start("rbd-restore.sh", `${volume}@~1`, image.spec);
    while (!existsSync(reached)) await Bun.sleep(20);
    process.kill(-child.pid, "SIGKILL");
    await child.exited;
    rmSync(join(bin, "rbd"));
    rmSync(reached);
    expect(await isMarked()).toBe(true);
    expect(await script("rbd-backup.sh", image.spec, volume)).toMatchObject({
      code: 22,
      stderr: expect.stringContaining("run rbd-restore.sh again"),
    });

    // By now the same words mean another point.
    const wanted = (await bench.list(volume)).at(-2)!.backup;
    const newer = ["backup", volume, "--format", "raw", "-"];
    expect((await bench.run(newer, { stdin: new Uint8Array(MIB) })).code).toBe(0);
    expect(await restore("@~1")).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(
        `going on with the restore of ${volume}@${wanted}, which was not finished`,
      ),
    });
    expect(await image.exported()).toEqual(points[0]!);
    expect(await isMarked()).toBe(false);
    const [safety, ...others] = (await snapshots()).filter((name) => !names.includes(name));
    expect(others).toEqual([]);
    expect(await image.exported(safety)).toEqual(before);
  }, TEST_LIMIT_MS);

  test.each([
    ["rbd import-diff fails", '[[ $1 != import-diff ]] || { head -c 9000 | rbd "$@"; exit; }', 1],
    ["the rollback fails", '[[ "$1 $2" != "snap rollback" ]] || { echo no >&2; exit 5; }', 20],
    ["the image cannot be read for the comparison", "[[ $1 != export ]] || exit 5", 20],
  ])("says that the image is not usable, and how to go back, where %s", async (_, body, code) => {
    await image.change([write(9, 0, 9 * MIB)]);
    const before = await image.exported();
    rbdIs(body);
    const result = await restore("@~1");
    rmSync(join(bin, "rbd"));
    expect({ code: result.code, stdout: result.stdout }).toEqual({ code, stdout: "" });
    const [, back] = /NOT USABLE: .*To go on: run the same command again; to go back: (.*)$/.exec(
      lastLine(result)!,
    )!;
    await shell(back!.replace("rollback", "rollback --no-progress"), { env: bench.env });
    expect(await image.exported()).toEqual(before);
    expect(await isMarked()).toBe(false);
  }, TEST_LIMIT_MS);

  test("says that the image is not usable where it is interrupted, and goes on", async () => {
    const reached = bench.path("reached");
    rbdIs(`[[ $1 != import-diff ]] || { head -c 100000 >/dev/null; : >'${reached}'; exec sleep 600; }`);
    const child = start("rbd-restore.sh", `${volume}@~1`, image.spec);
    while (!existsSync(reached)) await Bun.sleep(20);
    child.kill("SIGTERM");
    const result = await ended(child);
    rmSync(join(bin, "rbd"));
    expect(result).toMatchObject({ code: 130, stdout: "" });
    expect(result.stderr).toMatch(
      /^varve: Interrupted: "rbd" was killed before it had read everything.*\n.*NOT USABLE: .*\n$/,
    );
    expect(await restore("@~1")).toMatchObject({ code: 0, stderr: "" });
    expect(await image.exported()).toEqual(points[0]!);
  }, TEST_LIMIT_MS);

  test("waits for a rollback that is interrupted, and goes on after it", async () => {
    const [reached, done] = [bench.path("rollback-reached"), bench.path("done")];
    rbdIs(
      `[[ "$1 $2" != "snap rollback" ]] || { : >'${reached}'; sleep 1; rbd "$@" && : >'${done}'; exit; }`,
    );
    const child = start("rbd-restore.sh", `${volume}@~1`, image.spec);
    while (!existsSync(reached)) await Bun.sleep(20);
    child.kill("SIGTERM");
    const result = await ended(child);
    rmSync(join(bin, "rbd"));
    expect({ code: result.code, isDone: existsSync(done) }).toEqual({ code: 130, isDone: true });
    expect(result.stderr).toMatch(
      /^rbd-restore: .*NOT USABLE: .*To go on: run the same command again; .*\n$/,
    );
    expect(await restore("@~1")).toMatchObject({ code: 0, stderr: "" });
    expect(await image.exported()).toEqual(points[0]!);
  }, TEST_LIMIT_MS);

  test("says that the image is not the point where it is written to meanwhile", async () => {
    const bench4k = `rbd bench --io-type write --io-size 4K --io-total 4K '${image.spec}' >/dev/null`;
    rbdIs(`[[ $1 != import-diff ]] || { rbd "$@" && ${bench4k}; exit; }`);
    const result = await restore("@~1");
    expect(result).toMatchObject({ code: 24, stdout: "" });
    expect(lastLine(result)).toMatch(
      /NOT USABLE: the image is not what the point holds. To go on: restore to a new/,
    );
    expect(await isMarked()).toBe(true);
    rmSync(join(bin, "rbd"));
    expect(await restore("@~1")).toMatchObject({ code: 0, stderr: "" });
    expect(await image.exported()).toEqual(points[0]!);
  }, TEST_LIMIT_MS);

  test("changes nothing where there is no such point, or the command line is wrong", async () => {
    const [head, names] = [await image.exported(), await snapshots()];
    expect(await restore("@nosuch")).toMatchObject({ code: 4, stdout: "" });
    for (
      const args of [[], [volume], [volume, "image"], [volume, `${image.spec}@x`], [volume, image.spec, "x"]]
    ) {
      expect(await script("rbd-restore.sh", ...args)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/^rbd-restore: [^\n]+; usage: [^\n]+\n$/),
      });
    }
    await expectUnchanged(head, names);
  }, TEST_LIMIT_MS);
});
