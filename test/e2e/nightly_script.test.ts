/** examples/rbd-backup.sh with the built program, a real cluster and a real store, night after night. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { startCeph } from "../kit/ceph.ts";
import { FaultyS3 } from "../kit/faulty_s3.ts";
import { startMinio } from "../kit/minio.ts";
import { describeWith } from "../kit/parts.ts";
import { awsEnv, type S3Server } from "../kit/s3_server.ts";
import type { Server } from "../kit/servers.ts";
import { VARVE_BIN } from "../kit/varve.ts";
import { BOOT_LIMIT_MS, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { discard, MIB, RbdImage, write } from "../kit/rbd_image.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { type Sum, Workbench } from "../kit/workbench.ts";

const SCRIPT = join(import.meta.dirname, "../../examples/rbd-backup.sh");

describeWith(["Ceph", "MinIO"], "examples/rbd-backup.sh", () => {
  const folder = scratchFolder();
  let ceph: Server;
  let minio: S3Server;
  let proxy: FaultyS3;
  let bench: Workbench;
  let image: RbdImage;
  let volume: string;
  /** What the image held on each night that went well. */
  let points: Sum[];

  beforeAll(async () => {
    ceph = await startCeph();
    minio = await startMinio();
    proxy = await FaultyS3.start(minio);
    mkdirSync(join(folder, "bin"));
    symlinkSync(VARVE_BIN, join(folder, "bin/varve"));
    bench = new Workbench(folder, {
      ...awsEnv({ ...minio, endpoint: proxy.endpoint }),
      CEPH_CONF: ceph.env.CEPH_CONF!,
      RBD_BACKUP_LOCK_FOLDER: folder,
      VARVE_REPO: `s3://${minio.bucket}/nightly`,
      VARVE_RETRY_FOR: "1s",
    });
    await bench.json(["init", "acme", "--no-encryption"]);
  }, BOOT_LIMIT_MS);
  beforeEach(async () => {
    image = await RbdImage.create(bench.env, { sizeBytes: 24 * MIB });
    volume = `acme/${crypto.randomUUID()}`;
    points = [];
  });
  afterAll(async () => {
    proxy?.goAway();
    await minio?.stop();
    await ceph?.stop();
  }, BOOT_LIMIT_MS);

  async function runScript(): Promise<{ code: number; stdout: string; stderr: string }> {
    const child = Bun.spawn([SCRIPT, image.spec, volume], {
      env: { ...bench.env, PATH: `${join(folder, "bin")}:${process.env.PATH}` },
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    return { code: await child.exited, stdout, stderr };
  }

  async function snapshots(): Promise<string[]> {
    const listed = await image.rbd("snap", "ls", "--format", "json", image.spec);
    return (JSON.parse(Buffer.from(listed).toString()) as { name: string }[]).map(({ name }) => name);
  }

  /** A night that goes well: one snapshot is left, that of the newest backup, which begins at the one before. */
  async function goodNight(): Promise<void> {
    const before = (await snapshots())[0] ?? null;
    expect(await runScript()).toEqual({ code: 0, stdout: "", stderr: "" });
    const newest = (await bench.list(volume)).at(-1)!;
    expect(newest.from_snapshot).toBe(before);
    expect(await snapshots()).toEqual([newest.to_snapshot as string]);
    points.push(await image.exported());
  }

  /** A night on which the store fails: the snapshot of the newest backup is left, and no other. */
  async function badNight(stderr: RegExp): Promise<void> {
    const before = await snapshots();
    expect(await runScript()).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(stderr) });
    expect(await snapshots()).toEqual(before);
  }

  async function assertPoints(): Promise<void> {
    const backups = await bench.list(volume);
    expect(backups).toHaveLength(points.length);
    for (const [night, { backup }] of backups.entries()) {
      expect(await bench.restoreToFile(`${volume}@${backup}`, bench.path("restored"))).toEqual(
        points[night]!,
      );
    }
  }

  test(
    "gives every night's point back, over nights with writes, discards, a new size and nothing",
    async () => {
      await image.change([write(1, 0, 10 * MIB), write(2, 20 * MIB + 5, MIB)]);
      await goodNight();
      await image.change([write(3, 9 * MIB, 3 * MIB), write(4, 100, 100)]);
      await goodNight();
      await goodNight();
      await image.change([discard(0, 5 * MIB), write(5, 30 * MIB, 1000)], 33 * MIB + 512);
      await goodNight();
      await image.change([write(6, MIB, 1)], 8 * MIB);
      await goodNight();
      await assertPoints();
    },
    TEST_LIMIT_MS,
  );

  test(
    "keeps the older snapshot and drops its own while the store fails, and goes on from there",
    async () => {
      await image.change([write(1, 0, 10 * MIB)]);
      await goodNight();

      await image.change([write(2, 4 * MIB - 10, 20)]);
      proxy.faultOf = ({ method, key }) => method === "PUT" && key.includes("/chunks/") ? 403 : undefined;
      await badNight(/^varve: Cannot write "s3:.*access denied/m);
      proxy.reset();

      await image.change([write(3, 12 * MIB, MIB)]);
      proxy.goAway();
      await badNight(/^rbd-backup: .* cannot read the last backup: .*Cannot read "s3:/m);
      await proxy.comeBack();

      await image.change([write(4, 23 * MIB, MIB)]);
      await goodNight();
      await assertPoints();
    },
    TEST_LIMIT_MS,
  );

  test("does not take a store that fails for one without a backup", async () => {
    await image.change([write(1, 0, 5 * MIB)]);
    await goodNight();
    proxy.faultOf = () => 503;
    await badNight(/^rbd-backup: .* cannot read the last backup: .*503/m);
    proxy.reset();
    await goodNight();
    await assertPoints();
  }, TEST_LIMIT_MS);

  test("fails on its first night as on any other, and leaves no snapshot", async () => {
    await image.change([write(1, 0, 5 * MIB)]);
    proxy.faultOf = ({ method, key }) => method === "PUT" && key.includes("/volumes/") ? 403 : undefined;
    await badNight(/^varve: Cannot write "s3:/m);
    proxy.reset();
    expect(await snapshots()).toEqual([]);
    await goodNight();
    await assertPoints();
  }, TEST_LIMIT_MS);
});
