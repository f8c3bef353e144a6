/** Restores by the built program that break off: killed, interrupted, without their store, on a full disk; and how they go on. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import type { FaultyS3 } from "../kit/faulty_s3.ts";
import { mountTmpfs, remount, unmount } from "../kit/mounts.ts";
import { describeWith } from "../kit/parts.ts";
import { random } from "../kit/random.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { expectContent } from "../kit/restores.ts";
import { startProxiedRepository } from "../kit/proxied_repository.ts";

setDefaultTimeout(RUN_LIMIT_MS);

const CHUNKS = 64;
const VOLUME = noise(CHUNKS * CHUNK_BYTES, "volume");
/** A chunk takes about 30 ms, the volume two seconds. */
const SLOWLY = ["--limit-rate", "2M"];
const SEED = Number(process.env.VARVE_TEST_SEED ?? Date.now() % 1_000_000);
const POLL_MS = 2;

/** Resolves once the file has so many bytes on its disk, or the work is over. */
async function untilWritten(file: string, bytes: number, work: Promise<unknown>): Promise<void> {
  let isOver = false;
  work.then(() => isOver = true);
  const written = () => fs.existsSync(file) ? fs.statSync(file).blocks * 512 : 0;
  while (!isOver && written() < bytes) await Bun.sleep(POLL_MS);
}

describe("varve restore from a directory", () => {
  let repository: TestRepository;
  let file: string;
  beforeAll(async () => {
    repository = await TestRepository.make();
    await repository.backUp("acme/vm", VOLUME);
  });
  afterAll(() => repository.remove());
  beforeEach(() => {
    file = repository.path("disk");
    fs.rmSync(file, { force: true });
  });

  const args = (to: string) => ["restore", "acme/vm", "--to", to];

  /** The same command again moves only the rest. */
  async function expectGoesOn(to: string): Promise<RestoreReport> {
    const report = await repository.json<RestoreReport>(args(to));
    expect(report).toMatchObject({ way: "compare", damaged: [] });
    expect(report.chunks.matched).toBeGreaterThan(0);
    expect(report.downloaded_bytes).toBeLessThan(VOLUME.length);
    expectContent(to, VOLUME);
    return report;
  }

  test(`goes on when it is run again after kill -9 at any moment (seed ${SEED})`, async () => {
    const next = random(SEED);
    let matched = 0;
    for (let turn = 0; turn < 3; turn++) {
      const child = repository.start([...args(file), ...SLOWLY]);
      await untilWritten(file, (matched + 1 + next(12)) * CHUNK_BYTES, child.exited);
      child.kill("SIGKILL");
      await child.exited;
      expect(child.signalCode).toBe("SIGKILL");
      // What is there is known by looking, not by a note that it is good.
      const planned = await repository.json<RestoreReport>([...args(file), "--dry-run"]);
      expect(planned.way).toBe("compare");
      expect(planned.chunks.matched).toBeGreaterThan(matched);
      matched = planned.chunks.matched;
    }
    const { chunks } = await expectGoesOn(file);
    expect(chunks.written).toBe(CHUNKS - matched);
  });

  test.each(["SIGINT", "SIGTERM"] as const)(
    "exits with 130 and goes on when it is run again after %s",
    async (signal) => {
      const child = repository.start([...args(file), ...SLOWLY]);
      await untilWritten(file, 5 * CHUNK_BYTES, child.exited);
      child.kill(signal);
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      expect({ code: await child.exited, stdout, stderr }).toEqual({
        code: 130,
        stdout: "",
        stderr: `varve: Interrupted: "${file}" is incomplete; run the same command again to resume\n`,
      });
      await expectGoesOn(file);
    },
  );
});

describeWith(["root"], "varve restore to a file system that fills up", () => {
  let repository: TestRepository;
  beforeAll(async () => {
    repository = await TestRepository.make();
    await repository.backUp("acme/vm", VOLUME);
    mountTmpfs(repository.path("small"), ["size=2097152"]);
  });
  afterAll(async () => {
    unmount(repository.path("small"));
    await repository.remove();
  });

  test("exits with 1 and one line, and goes on once there is room", async () => {
    const file = repository.path("small/disk");
    const args = ["restore", "acme/vm", "--to", file];
    const failed = await repository.run(args);
    expectOneLine(failed, { code: 1, line: `varve: Cannot write "${file}" at offset ` });
    expect(failed.stderr).toContain("no space left on device");
    remount(repository.path("small"), ["size=16777216"]);
    const report = await repository.json<RestoreReport>(args);
    expect(report.chunks.matched).toBeGreaterThan(10);
    expect(report.downloaded_bytes).toBeLessThan(VOLUME.length);
    expectContent(file, VOLUME);
  });
});

describeWith(["MinIO"], "varve restore from a store that goes away", () => {
  let stop: () => Promise<void>;
  let proxy: FaultyS3;
  let repository: TestRepository;
  beforeAll(async () => {
    ({ proxy, repository, stop } = await startProxiedRepository());
    await repository.backUp("acme/vm", VOLUME);
  });
  afterAll(() => stop?.());

  test("exits with 1 and says so, and goes on once it is back", async () => {
    const file = repository.path("disk");
    const args = ["restore", "acme/vm", "--to", file];
    let left = 20;
    proxy.faultOf = ({ method, key }) => {
      if (method === "GET" && key.includes("/chunks/") && left-- === 0) proxy.goAway();
      return undefined;
    };
    const { code, stderr } = await repository.run(args, {
      env: { VARVE_RETRY_FOR: "1s", VARVE_S3_TIMEOUT: "1" },
    });
    expect(code).toBe(1);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/^varve: Cannot read "s3:.*chunks/);
    proxy.reset();
    await proxy.comeBack();
    const report = await repository.json<RestoreReport>(args);
    expect(report.chunks.matched).toBeGreaterThan(5);
    expect(report.downloaded_bytes).toBeLessThan(VOLUME.length);
    expectContent(file, VOLUME);
  });
});
