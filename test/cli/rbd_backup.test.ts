/** examples/rbd-backup.sh against a real cluster: what an operator's nights look like, good ones and bad ones. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { startCeph } from "../helpers/ceph.ts";
import { describeWith } from "../helpers/parts.ts";
import type { Server } from "../helpers/servers.ts";
import { VARVE } from "./varve.ts";

const SCRIPT = path.join(import.meta.dir, "../../examples/rbd-backup.sh");
const BOOT_LIMIT_MS = 120_000;
const TEST_LIMIT_MS = 120_000;
const IMAGE_BYTES = 16 << 20;

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
    expect(taken).toMatch(/^varve-\d{8}T\d{6}\.\d{3}Z$/);
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
    ok(SCRIPT, image, volume);
    expect(backups()).toMatchObject([{ from_snapshot: null }, {
      from_snapshot: null,
      to_snapshot: snapshots()[0],
    }]);
    expectRestored();
  }, TEST_LIMIT_MS);

  test("a snapshot of another name is a base, and stays", () => {
    ok("rbd", "snap", "create", "--no-progress", `${image}@monday`);
    ok(
      "varve",
      "backup",
      volume,
      "--exec",
      "--",
      "rbd",
      "export-diff",
      "--no-progress",
      `${image}@monday`,
      "-",
    );
    write();
    ok(SCRIPT, image, volume);
    expect(snapshots()).toEqual(["monday", expect.stringMatching(/^varve-/)]);
    expect(backups()).toMatchObject([{}, { from_snapshot: "monday" }]);
  }, TEST_LIMIT_MS);

  test("a night that fails leaves the older snapshot, and the next one goes on from it", () => {
    ok(SCRIPT, image, volume);
    const [first] = snapshots();
    write();
    program(
      "rbd",
      `[[ $1 != export-diff ]] || { /usr/bin/rbd "$@" | head -c 100; exit 9; }; exec /usr/bin/rbd "$@"`,
    );
    const failed = call(SCRIPT, image, volume);
    fs.rmSync(`${folder}/bin/rbd`);
    expect(failed).toMatchObject({
      status: 1,
      stdout: "",
      stderr: expect.stringMatching(/^varve: Cannot .+/m),
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
    expect(stderr).toEndWith("reading\nvarve: Interrupted: nothing was committed\n");
    expect(snapshots()).toEqual([]);
  }, TEST_LIMIT_MS);

  test("a second run of the same image ends at once", () => {
    program(
      "rbd",
      `if [[ $1 == export-diff ]]; then ${SCRIPT} "$IMAGE" acme/second; echo "second: $?" >&2; fi
      exec /usr/bin/rbd "$@"`,
    );
    const { status, stderr } = spawnSync(SCRIPT, [image, volume], {
      env: { ...env, IMAGE: image },
      encoding: "utf8",
    });
    fs.rmSync(`${folder}/bin/rbd`);
    expect(stderr).toContain(`rbd-backup: another backup of ${image} is running\nsecond: 75\n`);
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
      stderr: expect.stringContaining("the passphrase is wrong"),
    });
    expect(snapshots()).toEqual(before);
  }, TEST_LIMIT_MS);

  test("the words of its usage are shown when they are wrong", () => {
    for (const args of [[], [image], ["image", volume], [image, "volume"]]) {
      expect(call(SCRIPT, ...args)).toMatchObject({
        status: 2,
        stdout: "",
        stderr: expect.stringContaining("usage: "),
      });
    }
  });
});
