/** The built program and its garbage collection: what it waits for, what it stops at, and hosts that sleep in the middle. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { GcReport } from "../../src/engine/gc/gc_report.ts";
import type { VerifyReport } from "../../src/engine/verify/verify.ts";
import { FaultyS3 } from "../kit/faulty_s3.ts";
import { startMinio } from "../kit/minio.ts";
import { mountTmpfs, remount, unmount } from "../kit/mounts.ts";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { awsEnv } from "../kit/s3_server.ts";
import { Terminal } from "../kit/terminal.ts";
import { startVarve } from "../kit/varve.ts";
import { Workbench } from "../kit/workbench.ts";

const MIB = 1024 * 1024;
const DAY_S = 24 * 3600;
const NOW = ["--grace", "0"];

setDefaultTimeout(RUN_LIMIT_MS);

/** A directory repository with small chunks. */
async function newWorkbench(): Promise<Workbench> {
  const bench = new Workbench(mkdtempSync(join(tmpdir(), "varve-gc-")));
  expect((await bench.run(["init", "acme", "--no-encryption", "--chunk-size", "64K"])).code).toBe(0);
  return bench;
}

/** Backs up bytes as they are. */
async function backUp(bench: Workbench, volume: string, bytes: Uint8Array): Promise<string> {
  writeFileSync(bench.path("source"), bytes);
  const [report] = [
    await bench.json<BackupReport | BackupReport[]>([
      "backup",
      volume,
      bench.path("source"),
      "--format",
      "raw",
    ]),
  ].flat();
  return report!.backup;
}

/** Every file below a folder of the project. */
function files(bench: Workbench, folder: string): string[] {
  const root = bench.path(`repository/projects/acme/${folder}`);
  try {
    const entries = readdirSync(root, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return [];
  }
}

/** The store saw these files change for the last time so many seconds ago. */
function age(paths: readonly string[], seconds: number): void {
  const then = Date.now() / 1000 - seconds;
  for (const path of paths) utimesSync(path, then, then);
}

async function isWhole(bench: Workbench): Promise<boolean> {
  const { findings } = await bench.json<VerifyReport>(["verify", "acme"]);
  return findings.length === 0;
}

describe("varve gc", () => {
  let bench: Workbench;
  beforeEach(async () => void (bench = await newWorkbench()));
  afterEach(() => rmSync(bench.folder, { recursive: true, force: true }));

  const gc = (...args: string[]) => bench.json<GcReport>(["gc", "acme", ...args]);

  test("leaves what was uploaded today, condemns what is older, and deletes it in a later run", async () => {
    await backUp(bench, "acme/kept", noise(20 * CHUNK_BYTES, "kept"));
    const point = await backUp(bench, "acme/db", noise(4 * CHUNK_BYTES, "gone"));
    expect((await bench.run(["forget", `acme/db@${point}`])).code).toBe(0);
    expect(await gc()).toMatchObject({ garbage: 5, young: 5, condemned: 0, deleted: 0 });
    age(files(bench, "chunks"), 2 * DAY_S);
    const before = files(bench, "chunks").length;
    expect(await gc()).toMatchObject({ young: 0, condemned: 5, deleted: 0, plans_waiting: [{ waits: [] }] });
    expect(files(bench, "chunks").length).toBe(before);
    expect(await gc()).toMatchObject({ condemned: 0, deleted: 0 });
    expect(await gc(...NOW)).toMatchObject({ deleted: 5, plans_waiting: [] });
    expect(files(bench, "chunks").length).toBe(before - 5);
    expect(await isWhole(bench)).toBe(true);
  });

  test("writes nothing in a dry run", async () => {
    const point = await backUp(bench, "acme/db", noise(4 * CHUNK_BYTES, "gone"));
    await backUp(bench, "acme/db", noise(8 * CHUNK_BYTES, "kept"));
    await bench.run(["forget", `acme/db@${point}`]);
    const before = readdirSync(bench.path("repository"), { recursive: true }).sort();
    expect(await gc("--dry-run", ...NOW)).toMatchObject({ garbage: 5 });
    expect(readdirSync(bench.path("repository"), { recursive: true }).sort()).toEqual(before);
  });

  test("stops where all manifests are gone, with and without an earlier gc, and deletes nothing", async () => {
    await backUp(bench, "acme/db", noise(4 * CHUNK_BYTES, "lost"));
    const before = files(bench, "chunks").length;
    const volumes = bench.path("repository/projects/acme/volumes");
    renameSync(volumes, bench.path("aside"));
    // Of a host that has seen no point.
    const env = { XDG_STATE_HOME: bench.path("other/state") };
    expect(await bench.run(["gc", "acme", ...NOW], { env })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^varve: Cannot collect "acme": it has 5 objects but no restore points.*--force[^\n]*\n$/,
      ),
    });
    renameSync(bench.path("aside"), volumes);
    await gc(...NOW);
    renameSync(volumes, bench.path("aside"));
    expectOneLine(await bench.run(["gc", "acme", ...NOW]), {
      code: 3,
      line: /^varve: Cannot collect "acme": 1 restore point seen at .* no forget deleted them: "acme\/db@/,
    });
    expect(files(bench, "chunks").length).toBe(before);
    renameSync(bench.path("aside"), volumes);
    expect(await gc(...NOW)).toMatchObject({ deleted: 0 });
    expect(await isWhole(bench)).toBe(true);
  });

  test("stops where more than half of the objects would go", async () => {
    const point = await backUp(bench, "acme/db", noise(9 * CHUNK_BYTES, "most"));
    await backUp(bench, "acme/kept", noise(2 * CHUNK_BYTES, "kept"));
    await bench.run(["forget", `acme/db@${point}`]);
    expect(await bench.run(["gc", "acme", ...NOW])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^varve: Cannot collect "acme": 10 of 13 objects, more than half, .*; nothing was condemned; use --force[^\n]*\n$/,
      ),
    });
    expect(await gc("--force", ...NOW)).toMatchObject({ deleted: 10 });
    expect(await isWhole(bench)).toBe(true);
  });

  test("goes on with the other projects after one that it cannot collect", async () => {
    await backUp(bench, "acme/db", noise(4 * CHUNK_BYTES, "lost"));
    await bench.json(["init", "beta", "--no-encryption"]);
    const point = await backUp(bench, "beta/db", noise(4 * CHUNK_BYTES, "forgotten"));
    await backUp(bench, "beta/kept", noise(9 * CHUNK_BYTES, "kept"));
    await bench.run(["forget", `beta/db@${point}`]);
    rmSync(bench.path("repository/projects/acme/volumes"), { recursive: true });
    const { code, stdout, stderr } = await bench.run(["gc", ...NOW, "--json"]);
    expect(code).toBe(3);
    expect(stderr).toContain('Cannot collect "acme"');
    const reports = JSON.parse(stdout) as GcReport[];
    expect(reports.find(({ project }) => project === "beta")).toMatchObject({ deleted: 5 });
  });

  test("says which process of which host it waits for, and buries ten thousand dead leases", async () => {
    const point = await backUp(bench, "acme/db", noise(4 * CHUNK_BYTES, "gone"));
    await backUp(bench, "acme/kept", noise(9 * CHUNK_BYTES, "kept"));
    await bench.run(["forget", `acme/db@${point}`]);
    const leases = bench.path("repository/projects/acme/leases");
    // A backup that is in the middle of its work: it reads from a pipe that stays open.
    const child = startVarve(["backup", "acme/live", "--format", "raw"], {
      env: bench.env,
      stdin: new ReadableStream(),
    });
    try {
      await until(() => files(bench, "leases").length === 1);
      const dead = Array.from({ length: 10_000 }, (_, i) => join(leases, i.toString(16).padStart(32, "0")));
      for (const path of dead) writeFileSync(path, "");
      age(dead, 2 * DAY_S);
      const terminal = new Terminal(`varve gc acme ${NOW.join(" ")}`, bench.env);
      expect(await terminal.ended()).toEqual([0]);
      expect(terminal.output).toMatch(
        new RegExp(`once the backup of live on \\S+ \\(process ${child.pid}\\), started .*, has ended`),
      );
      expect(files(bench, "leases").length).toBe(1);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
  });
});

/** Until the condition holds; only a run that hangs gets to the end of the test's time. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1);
}

describe("varve gc that sleeps in the middle of its sweep", () => {
  let bench: Workbench;
  beforeEach(async () => void (bench = await newWorkbench()));
  afterEach(() => rmSync(bench.folder, { recursive: true, force: true }));

  test("deletes nothing that was stored again since another gc took it for dead", async () => {
    // Chunks that differ and compress well: many objects, few bytes.
    const chunks = 3000;
    const bytes = new Uint8Array(chunks * CHUNK_BYTES);
    for (let i = 0; i < chunks; i++) new DataView(bytes.buffer).setUint32(i * CHUNK_BYTES, i + 1);
    const point = await backUp(bench, "acme/db", bytes);
    await backUp(bench, "acme/kept", noise(2 * CHUNK_BYTES, "kept"));
    await bench.run(["forget", `acme/db@${point}`]);
    const before = files(bench, "chunks").length;

    const sleeper = startVarve(["gc", "acme", "--force", ...NOW], { env: bench.env });
    await until(() => files(bench, "chunks").length < before);
    process.kill(sleeper.pid, "SIGSTOP");
    const left = files(bench, "chunks").length;
    expect(left).toBeGreaterThan(100); // it stands in the middle
    age(files(bench, "leases"), 30 * 3600);

    const { deleted, dead_leases } = await bench.json<GcReport>(["gc", "acme", "--force", ...NOW]);
    expect(dead_leases).toBe(1);
    expect(deleted).toBeGreaterThan(0);
    const again = await backUp(bench, "acme/db", bytes);

    process.kill(sleeper.pid, "SIGCONT");
    const stderr = await new Response(sleeper.stderr).text();
    await sleeper.exited;
    expect([0, 11]).toContain(sleeper.exitCode!);
    if (sleeper.exitCode === 11) expect(stderr).toMatch(/^varve: Cannot finish the gc of "acme": its lease/m);
    expect(await isWhole(bench)).toBe(true);
    const { code } = await bench.run(["restore", `acme/db@${again}`, "--to", bench.path("restored")]);
    expect(code).toBe(0);
    expect(Buffer.compare(await Bun.file(bench.path("restored")).bytes(), bytes)).toBe(0);
    // And what it left is collected in the end.
    expect(await bench.json<GcReport>(["gc", "acme", ...NOW])).toMatchObject({ stopped: null });
  });
});

describeWith(["root"], "varve on a disk that is full to the last byte", () => {
  let repository: TestRepository;
  let mount: string;

  beforeEach(async () => {
    repository = await TestRepository.make({ mount: (path) => mountTmpfs(path, [`size=${16 * MIB}`]) });
    mount = repository.path("mount");
  });
  afterEach(async () => {
    unmount(mount);
    await repository.remove();
  });

  /** Nothing at all can be written any more. */
  function fill(): void {
    const room = join(mount, "filler");
    for (let size = MIB; size >= 1; size = Math.floor(size / 2)) {
      for (let i = 0;; i++) {
        try {
          writeFileSync(`${room}-${size}-${i}`, new Uint8Array(size));
        } catch {
          rmSync(`${room}-${size}-${i}`, { force: true });
          break;
        }
      }
    }
    expect(() => writeFileSync(`${room}-last`, new Uint8Array(1))).toThrow(/ENOSPC/);
    rmSync(`${room}-last`, { force: true });
  }

  test("forget and gc work, and give the room back", async () => {
    const { backup } = await repository.backUp("acme/db", noise(32 * CHUNK_BYTES, "old"));
    await repository.backUp("acme/kept", noise(64 * CHUNK_BYTES, "kept"));
    await repository.run(["gc", "acme"]); // makes the reserve, should there be none
    expect(statSync(join(repository.url, "reserve")).size).toBe(4 * MIB);
    fill();
    expect(await repository.run(["gc", "acme", "--dry-run"])).toMatchObject({ code: 0, stderr: "" });
    expect((await repository.run(["forget", `acme/db@${backup}`])).code).toBe(0);
    const { code, stdout, stderr } = await repository.run(["gc", "acme", ...NOW, "--json"]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(JSON.parse(stdout)).toMatchObject({ deleted: 33 });
    expect(statSync(join(repository.url, "reserve")).size).toBeGreaterThan(0);
    repository.expectNoPoint("acme/db", backup);
    await repository.expectIntact();
    remount(mount, [`size=${32 * MIB}`]);
  });
});

describeWith(["MinIO"], "varve forget that is interrupted while its deletion is under way", () => {
  test("leaves its lease behind, and a hold sees it", async () => {
    const minio = await startMinio();
    const proxy = await FaultyS3.start(minio);
    const env = awsEnv({ ...minio, endpoint: proxy.endpoint });
    const repository = await TestRepository.make({ url: `s3://${minio.bucket}/repository`, env });
    try {
      const { backup } = await repository.backUp("acme/db", noise(2 * CHUNK_BYTES, "held"));
      await repository.backUp("acme/db", noise(2 * CHUNK_BYTES, "newer"));
      let isHeld = false;
      proxy.faultOf = ({ method, key }) => {
        const isDeletion = (method === "POST" && key === "") ||
          (method === "DELETE" && key.includes("/volumes/"));
        return isDeletion ? (isHeld = true, "hang") : undefined;
      };
      const forget = startVarve(["forget", `acme/db@${backup}`], { env: repository.env });
      await until(() => isHeld);
      forget.kill("SIGTERM");
      await forget.exited;
      expect(forget.exitCode).toBe(130);
      proxy.reset();
      expectOneLine(await repository.run(["hold", `acme/db@${backup}`, "--reason", "legal"]), {
        code: 11,
        line:
          /^varve: Cannot guarantee the hold on ".*": a forget running on ".*" may not have seen the hold/,
      });
    } finally {
      proxy.goAway();
      await repository.remove();
      await minio.stop();
    }
  });
});
