/** examples/rbd-backup.sh against a real cluster: what an operator's nights look like, good ones and bad ones. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { startCeph } from "../kit/ceph.ts";
import { describeWith } from "../kit/parts.ts";
import type { Server } from "../kit/servers.ts";
import { VARVE } from "../kit/varve_from_source.ts";

const SCRIPT = path.join(import.meta.dir, "../../examples/rbd-backup.sh");
const BOOT_LIMIT_MS = 120_000;
const TEST_LIMIT_MS = 120_000;
const IMAGE_BYTES = 16 << 20;
/** What the script calls its snapshots. */
const OWN = /^varve-[0-9a-f]{8}-\d{8}T\d{9}Z-[0-9a-f]{4}$/;

describeWith(["Ceph"], "examples/rbd-backup.sh", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "varve-nightly-"));
  let ceph: Server;
  let env: Record<string, string>;
  let image: string;
  let volume: string;
  let count = 0;

  beforeAll(async () => {
    ceph = await startCeph();
    fs.mkdirSync(`${folder}/bin`);
    program("varve", `exec ${VARVE.join(" ")} "$@"`);
    env = {
      ...{ PATH: `${folder}/bin:${process.env.PATH}`, HOME: folder, CEPH_CONF: ceph.env.CEPH_CONF! },
      ...{ VARVE_REPO: `${folder}/repository`, RBD_BACKUP_LOCK_FOLDER: folder },
    };
    ok("varve", "init", "acme", "--no-encryption", "--quiet");
  }, BOOT_LIMIT_MS);
  afterAll(async () => {
    await ceph?.stop();
    fs.rmSync(folder, { recursive: true });
  }, BOOT_LIMIT_MS);
  beforeEach(() => {
    [image, volume] = [`rbd/nightly-${process.pid}-${++count}`, `acme/nightly-${count}`];
    ok("rbd", "create", "--size", `${IMAGE_BYTES}B`, image);
    write();
  });

  function program(name: string, body: string): void {
    fs.writeFileSync(`${folder}/bin/${name}`, `#!/bin/bash\n${body}\n`, { mode: 0o755 });
  }

  /** A night on which `rbd` begins with `body`. */
  function nightWith(body: string) {
    program("rbd", `${body}\nexec /usr/bin/rbd "$@"`);
    const night = call(SCRIPT, image, volume);
    fs.rmSync(`${folder}/bin/rbd`);
    return night;
  }

  function call(...[command, ...args]: [string, ...string[]]) {
    return spawnSync(command, args, { env, encoding: "utf8", timeout: TEST_LIMIT_MS });
  }

  function ok(...words: [string, ...string[]]): string {
    const { status, stdout, stderr } = call(...words);
    expect({ words, status, stderr }).toEqual({ words, status: 0, stderr: "" });
    return stdout;
  }

  /** Changes the image here and there. */
  function write(): void {
    const bench = ["--io-type", "write", "--io-size", "64K", "--io-total", "1M", "--io-pattern", "rand"];
    expect(call("rbd", "bench", ...bench, image).status).toBe(0);
  }

  function snapshots(): string[] {
    const listed: { name: string }[] = JSON.parse(ok("rbd", "snap", "ls", "--format", "json", image));
    return listed.map(({ name }) => name);
  }

  function backups(): { from_snapshot: string | null; to_snapshot: string; tags: string[] }[] {
    return JSON.parse(ok("varve", "list", volume, "--json"));
  }

  function expectRestored(): void {
    const [restored, exported] = [`${folder}/restored`, `${folder}/exported`];
    ok("varve", "restore", volume, "--to", restored);
    ok("rbd", "export", "--no-progress", image, exported);
    ok("cmp", restored, exported);
    fs.rmSync(restored);
    fs.rmSync(exported);
  }

  test("the first night backs up everything and leaves one snapshot", () => {
    ok(SCRIPT, image, volume, "--tag", "nightly");
    const [taken, ...others] = snapshots();
    expect(others).toEqual([]);
    expect(taken).toMatch(OWN);
    expect(backups()).toMatchObject([{ from_snapshot: null, to_snapshot: taken, tags: ["nightly"] }]);
    expectRestored();
  }, TEST_LIMIT_MS);

  test("the second night backs up what changed, and drops the older snapshot", () => {
    ok(SCRIPT, image, volume);
    const [first] = snapshots();
    write();
    ok(SCRIPT, image, volume);
    const [second, ...others] = snapshots();
    expect(others).toEqual([]);
    expect(backups()).toMatchObject([{ to_snapshot: first }, { from_snapshot: first, to_snapshot: second }]);
    expectRestored();
  }, TEST_LIMIT_MS);

  test("a night after the last snapshot was lost backs up everything", () => {
    ok(SCRIPT, image, volume);
    ok("rbd", "snap", "rm", "--no-progress", image, "--snap", snapshots()[0]!);
    write();
    const { status, stderr } = call(SCRIPT, image, volume);
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr:
        `rbd-backup: ${image} (${volume}): sending the full image: it no longer has the snapshot of any ` +
        "recent restore point\n",
    });
    expect(backups()).toMatchObject([{ from_snapshot: null }, {
      from_snapshot: null,
      to_snapshot: snapshots()[0],
    }]);
    expectRestored();
  }, TEST_LIMIT_MS);

  const exportOf = (snapshot: string) =>
    ["rbd", "export-diff", "--no-progress", `${image}@${snapshot}`, "-"] as const;

  test("a snapshot of another name is a base, and stays", () => {
    ok("rbd", "snap", "create", "--no-progress", `${image}@monday`);
    ok("varve", "backup", volume, `rbd:${image}@monday`, "--quiet");
    write();
    ok(SCRIPT, image, volume);
    expect(snapshots()).toEqual(["monday", expect.stringMatching(OWN)]);
    expect(backups()).toMatchObject([{}, { from_snapshot: "monday" }]);
    expectRestored();
  }, TEST_LIMIT_MS);

  test(
    "a point that does not say of which image it is is no base, though another image has its snapshot",
    () => {
      ok("rbd", "snap", "create", "--no-progress", `${image}@monday`);
      ok("varve", "backup", volume, "--exec", "--", ...exportOf("monday"));
      ok("rbd", "snap", "rm", "--no-progress", `${image}@monday`);
      ok("rbd", "rm", "--no-progress", image);
      ok("rbd", "create", "--size", `${IMAGE_BYTES}B`, image);
      write();
      ok("rbd", "snap", "create", "--no-progress", `${image}@monday`);
      write();
      expect(call(SCRIPT, image, volume)).toMatchObject({
        status: 0,
        stderr:
          `rbd-backup: ${image} (${volume}): the backup of the snapshot monday does not say which image it ` +
          "is of, and is no base\n" +
          `rbd-backup: ${image} (${volume}): sending the full image: it no longer has the snapshot of any recent ` +
          "restore point\n",
      });
      expect(backups()).toMatchObject([{}, { from_snapshot: null }]);
      expectRestored();
      write();
      const [, last] = snapshots();
      ok(SCRIPT, image, volume);
      expect(backups().at(-1)).toMatchObject({ from_snapshot: last });
      expectRestored();
    },
    TEST_LIMIT_MS,
  );

  test("a snapshot that was made by a command that failed is removed", () => {
    expect(nightWith(`[[ "$1 $2" != "snap create" ]] || { /usr/bin/rbd "$@"; echo lost >&2; exit 110; }`))
      .toMatchObject({
        status: 20,
        stderr: `rbd-backup: ${image} (${volume}): cannot make a snapshot: lost\n`,
      });
    expect(snapshots()).toEqual([]);
  }, TEST_LIMIT_MS);

  test("a night that fails leaves the older snapshot, and the next one goes on from it", () => {
    ok(SCRIPT, image, volume);
    const [first] = snapshots();
    write();
    expect(nightWith(`[[ $1 != export-diff ]] || { /usr/bin/rbd "$@" | head -c 100; exit 9; }`))
      .toMatchObject({
        status: 1,
        stdout: "",
        stderr: expect.stringMatching(
          /^varve: Cannot .+\n.*not backed up: varve ended with 1, and said why above\n$/m,
        ),
      });
    expect(snapshots()).toEqual([first!]);
    expect(backups().length).toBe(1);
    ok(SCRIPT, image, volume);
    expect(backups()).toMatchObject([{}, { from_snapshot: first }]);
    expectRestored();
  }, TEST_LIMIT_MS);

  test("a night that is interrupted waits for varve before it removes the snapshot", async () => {
    program(
      "rbd",
      `[[ $1 != export-diff ]] || { echo reading >&2; exec sleep 600; }; exec /usr/bin/rbd "$@"`,
    );
    const child = spawn(SCRIPT, [image, volume], { env, stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
      if (!child.killed && stderr.includes("reading\n")) child.kill("SIGTERM");
    });
    const [code] = await once(child, "close");
    fs.rmSync(`${folder}/bin/rbd`);
    expect(code).toBe(130);
    expect(stderr).toBe(
      "reading\nvarve: Interrupted: nothing was committed\n" +
        `rbd-backup: ${image} (${volume}): not backed up: varve ended with 130, and said why above\n`,
    );
    expect(snapshots()).toEqual([]);
  }, TEST_LIMIT_MS);

  test("a second run of the same image ends at once", () => {
    program(
      "rbd",
      `if [[ $1 == export-diff ]]; then
        VARVE_REPO=${env.VARVE_REPO} ${SCRIPT} "$IMAGE" acme/second; echo "second: $?" >&2
      fi
      exec /usr/bin/rbd "$@"`,
    );
    const { status, stderr } = spawnSync(SCRIPT, [image, volume], {
      env: { ...env, IMAGE: image },
      encoding: "utf8",
    });
    fs.rmSync(`${folder}/bin/rbd`);
    expect(stderr).toBe(`rbd-backup: ${image} (acme/second): another run is going on\nsecond: 75\n`);
    expect(status).toBe(0);
    expect(snapshots().length).toBe(1);
  }, TEST_LIMIT_MS);

  test("a wrong passphrase is no reason for a full backup, and takes no snapshot", () => {
    const sealed = { ...env, VARVE_PASSPHRASE: "correct horse" };
    const night = (env: Record<string, string>) =>
      spawnSync(SCRIPT, [image, `sealed/${volume}`], { env, encoding: "utf8" });
    expect(spawnSync("varve", ["init", "sealed"], { env: sealed }).status).toBe(0);
    expect(night(sealed).status).toBe(0);
    const before = snapshots();
    program("rbd", `[[ "$1 $2" != "snap create" ]] || exit 99; exec /usr/bin/rbd "$@"`);
    const { status, stderr } = night({ ...env, VARVE_PASSPHRASE: "battery" });
    fs.rmSync(`${folder}/bin/rbd`);
    expect({ status, stderr }).toEqual({
      status: 13,
      stderr: expect.stringMatching(
        /^rbd-backup: .* \(sealed\/.*\): cannot read the last backup: varve: .*the passphrase is wrong.*\n$/,
      ),
    });
    expect(snapshots()).toEqual(before);
  }, TEST_LIMIT_MS);

  test("the words of its usage are shown when they are wrong, and nothing is done", () => {
    const [pool, name] = image.split("/");
    const wrong = [[], [image], ["image", volume], [image, "volume"], ["-p/x", volume], [image, "--x/y"]];
    const more = [[`${image}@monday`, volume], [image, `${volume}@x`], [image, volume, "--repo", folder]];
    for (const args of [...wrong, ...more, [`${pool}/`, volume], [`/${name}`, volume]]) {
      expect({ args, ...call(SCRIPT, ...args) }).toMatchObject({
        ...{ args, status: 2, stdout: "" },
        stderr: expect.stringMatching(/^rbd-backup: [^\n]+; usage: rbd-backup.sh [^\n]+\n$/),
      });
    }
    const { VARVE_REPO: _, ...unnamed } = env;
    expect(spawnSync(SCRIPT, [image, volume], { env: unnamed, encoding: "utf8" })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("VARVE_REPO is not set"),
    });
    expect(snapshots()).toEqual([]);
    expect(call("varve", "list", volume).status).toBe(4);
  }, TEST_LIMIT_MS);

  test("what Ceph says is a line with the image and the volume, and never varve's exit code", () => {
    const missing = `${image}-missing`;
    expect(call(SCRIPT, missing, volume)).toMatchObject({
      status: 20,
      stdout: "",
      stderr: expect.stringMatching(
        new RegExp(`^rbd-backup: ${missing} \\(${volume}\\): cannot look at the image: [^\n]+\n$`),
      ),
    });
    expect(nightWith(`[[ "$1 $2" != "snap create" ]] || { echo no room >&2; exit 13; }`)).toMatchObject({
      status: 20,
      stderr: `rbd-backup: ${image} (${volume}): cannot make a snapshot: no room\n`,
    });
  }, TEST_LIMIT_MS);

  test("locks are closed to everybody else, and of one image each", () => {
    const locks = `${folder}/locks`;
    const night = (image: string, extra: Record<string, string> = {}) =>
      spawnSync(SCRIPT, [image, volume], {
        env: { ...env, CEPH_CONF: "/nowhere", RBD_BACKUP_LOCK_FOLDER: locks, ...extra },
        encoding: "utf8",
      });
    for (const name of ["rbd/ssd-db", "rbd-ssd/db", "rbd%2Fssd/db", "rbd/ssd/db"]) {
      expect(night(name).status).toBe(20);
    }
    expect(fs.readdirSync(locks).length).toBe(4);
    expect(fs.statSync(locks).mode & 0o777).toBe(0o700);
    fs.rmSync(locks, { recursive: true });
    // In a home that has nothing yet.
    const { RBD_BACKUP_LOCK_FOLDER: _, ...unnamed } = env;
    const home = `${folder}/home`;
    spawnSync(SCRIPT, [image, volume], { env: { ...unnamed, CEPH_CONF: "/nowhere", HOME: home } });
    expect(fs.statSync(`${home}/.local/state/rbd-backup`).mode & 0o777).toBe(0o700);

    fs.symlinkSync(home, `${folder}/link`);
    fs.mkdirSync(`${folder}/open`);
    fs.chmodSync(`${folder}/open`, 0o755);
    for (const place of [`${folder}/link`, `${folder}/open`]) {
      expect(night(image, { RBD_BACKUP_LOCK_FOLDER: place })).toMatchObject({
        status: 2,
        stderr: expect.stringContaining("the lock folder"),
      });
    }
  }, TEST_LIMIT_MS);

  test("snapshots that killed runs left go, and no others", () => {
    ok(SCRIPT, image, volume);
    ok(SCRIPT, image, "acme/other");
    const [first, other] = snapshots() as [string, string];
    const killed = first.replace(/-[^-]+-[^-]+$/, "-20200101T000000000Z-0000");
    const foreign = ["varve-monday", `${first}x`, first.replace(/^varve-/, "varve_"), other.slice(0, -1)];
    for (const name of [killed, ...foreign]) ok("rbd", "snap", "create", "--no-progress", `${image}@${name}`);
    write();
    ok(SCRIPT, image, volume);
    const left = snapshots();
    expect(left.slice(0, -1).toSorted()).toEqual([other, ...foreign].toSorted());
    expect(backups()).toMatchObject([{}, { from_snapshot: first, to_snapshot: left.at(-1) }]);
    expectRestored();
  }, TEST_LIMIT_MS);

  test("an old snapshot that is protected stays, is said, and goes when it can", () => {
    ok(SCRIPT, image, volume);
    const [first] = snapshots() as [string];
    ok("rbd", "snap", "protect", `${image}@${first}`);
    for (let night = 2; night <= 3; night++) {
      write();
      expect(call(SCRIPT, image, volume)).toMatchObject({
        status: 21,
        stdout: "",
        stderr: `rbd-backup: ${image} (${volume}): backed up; the old snapshot ${first} stays: ` +
          "it is protected, as for a clone\n",
      });
      expect(snapshots()).toEqual([first, expect.stringMatching(OWN)]);
      expect(backups().length).toBe(night);
    }
    ok("rbd", "snap", "unprotect", `${image}@${first}`);
    ok(SCRIPT, image, volume);
    expect(snapshots()).toEqual([backups().at(-1)!.to_snapshot]);
    expectRestored();
  }, TEST_LIMIT_MS);

  test("an old snapshot that cannot be removed stays, and is said", () => {
    ok(SCRIPT, image, volume);
    const [first] = snapshots() as [string];
    expect(nightWith(`[[ "$1 $2" != "snap rm" ]] || { echo busy >&2; exit 16; }`)).toMatchObject({
      status: 21,
      stderr: `rbd-backup: ${image} (${volume}): backed up; the old snapshot ${first} stays: busy\n`,
    });
    ok(SCRIPT, image, volume);
    expect(snapshots().length).toBe(1);
  }, TEST_LIMIT_MS);

  test("a snapshot that was made anew under its name is no base", () => {
    ok(SCRIPT, image, volume);
    const [first] = snapshots() as [string];
    ok("rbd", "snap", "rm", "--no-progress", `${image}@${first}`);
    write();
    ok("rbd", "snap", "create", "--no-progress", `${image}@${first}`);
    write();
    const night = call(SCRIPT, image, volume);
    expect(night).toMatchObject({
      status: 0,
      stderr: expect.stringContaining(`the snapshot ${first} is not the one that was backed up`),
    });
    expect(backups()).toMatchObject([{}, { from_snapshot: null }]);
    expectRestored();
  }, TEST_LIMIT_MS);

  test("a point that was backed up by hand in between is no reason for a full backup", () => {
    ok(SCRIPT, image, volume);
    const [first] = snapshots() as [string];
    write();
    const by = ["rbd", "export", "--no-progress", image, "-"] as const;
    ok("varve", "backup", volume, "--format", "raw", "--exec", "--", ...by);
    ok(SCRIPT, image, volume);
    expect(backups().at(-1)).toMatchObject({ from_snapshot: first, to_snapshot: snapshots()[0] });
    expect(snapshots().length).toBe(1);
    expectRestored();
  }, TEST_LIMIT_MS);

  test("a snapshot that is removed while it is read makes no point, and the run begins anew", () => {
    ok(SCRIPT, image, volume);
    const [first] = snapshots() as [string];
    write();
    const night = nightWith(`if [[ $1 == export-diff && ! -e ${folder}/once ]]; then
        : >${folder}/once
        /usr/bin/rbd "$@" && exec /usr/bin/rbd snap rm --no-progress ${image} --snap ${first}
      fi`);
    fs.rmSync(`${folder}/once`);
    expect(night).toMatchObject({ status: 0, stdout: "" });
    expect(night.stderr).toContain("a snapshot was removed while it was read");
    expect(backups()).toMatchObject([{}, { from_snapshot: null, to_snapshot: snapshots()[0] }]);
    expect(snapshots().length).toBe(1);
    expectRestored();
  }, TEST_LIMIT_MS);

  test("two hosts back up one image to one volume at the same time, and nothing is left behind", async () => {
    ok(SCRIPT, image, volume);
    for (let night = 0; night < 2; night++) {
      write();
      const hosts = ["one", "two"].map((host) =>
        spawn(SCRIPT, [image, volume], {
          env: {
            ...env,
            RBD_BACKUP_LOCK_FOLDER: `${folder}/${host}`,
            XDG_CACHE_HOME: `${folder}/cache-${host}`,
          },
          stdio: "ignore",
        })
      );
      const codes = await Promise.all(hosts.map(async (host) => (await once(host, "close"))[0]));
      expect(codes).toEqual([0, 0]);
      expectRestored();
    }
    ok(SCRIPT, image, volume);
    expect(snapshots()).toEqual([backups().at(-1)!.to_snapshot]);
    expect(backups().length).toBe(6);
    expectRestored();
  }, TEST_LIMIT_MS);
});
