/**
 * Small random writes on a real cluster, increment by increment: what is uploaded, downloaded and stored for them, and that
 * every point comes back. `VARVE_PATCHES_MIB` makes the image larger, and the writes more with it.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import type { ProjectStats } from "../../src/engine/stats/stats.ts";
import { BLOCK_BYTES, DEFAULT_CHUNK_BYTES } from "../../src/format/limits.ts";
import { describeWith } from "../kit/parts.ts";
import { random } from "../kit/random.ts";
import { VARVE_BIN } from "../kit/varve.ts";
import { clusterRepository } from "../kit/rbd_cluster.ts";
import { KIB, MIB, RbdImage, rbdWords, shell, shellWords, write } from "../kit/rbd_image.ts";

const SIZE_BYTES = Number(process.env.VARVE_PATCHES_MIB ?? 128) * MIB;
const CHUNKS = SIZE_BYTES / DEFAULT_CHUNK_BYTES;
/** 1,000 in 1 GiB. */
const WRITES = Math.round(SIZE_BYTES / MIB * 1000 / 1024);
const INCREMENTS = 10;
/** The stream of this one holds whole objects. */
const WHOLE_OBJECTS = 5;
/** The host has lost its caches before this one, too: by then positions have patches. */
const COLD_AGAIN = 8;
/** Of one `rbd import-diff`, so that its stream fits into memory. */
const FILL_BYTES = 64 * MIB;
/** Of a whole chunk: header, leaves, and what sealing adds. */
const FRONT_BYTES = 16 * KIB + 60;
const NAME = "acme/patches";
/** Also for what is removed afterwards. */
setDefaultTimeout(1_200_000);

interface Night {
  report: BackupReport;
  /** Of `varve backup`, with `rbd export-diff` that it reads from. */
  wall_s: number;
  sum: string;
}

describeWith(["Ceph"], `ten increments of ${WRITES} writes of 4 KiB to ${SIZE_BYTES / MIB} MiB`, () => {
  const repository = clusterRepository();
  const nights: Night[] = [];
  const draw = random(20_261);
  /** Chunks whose leaves the host remembers. */
  const warm = new Set<number>();
  let image: RbdImage;

  /** Different blocks of the image, each with bytes that it never had. How many chunks are touched that are not warm. */
  async function writeBlocks(night: number): Promise<number> {
    const blocks = new Set<number>();
    while (blocks.size < WRITES) blocks.add(draw(SIZE_BYTES / BLOCK_BYTES));
    const seed = 1000 + night * WRITES;
    await image.change([...blocks].map((block, i) => write(seed + i, block * BLOCK_BYTES, BLOCK_BYTES)));
    const cold = new Set([...blocks].map((block) => Math.floor(block * BLOCK_BYTES / DEFAULT_CHUNK_BYTES)))
      .difference(warm);
    for (const chunk of cold) warm.add(chunk);
    return cold.size;
  }

  /** Standard output of a shell's line, in text. */
  const run = async (line: string) => Buffer.from(await shell(line, { env: repository.env })).toString();

  async function night(...args: string[]): Promise<Night> {
    const to = `s${nights.length}`;
    await image.snapshot(to);
    const from = nights.length === 0 ? undefined : `s${nights.length - 1}`;
    const backup = shellWords([VARVE_BIN, "--json", "backup", NAME]);
    const startedMs = performance.now();
    const printed = await run(`${shellWords(image.exportDiff({ from, to }, ...args))} | ${backup}`);
    const wall_s = (performance.now() - startedMs) / 1000;
    const exported = rbdWords("export", "--no-progress", `${image.spec}@${to}`, "-");
    const sum = await run(`${shellWords(exported)} | sha256sum`);
    const done = { report: JSON.parse(printed) as BackupReport, wall_s, sum };
    nights.push(done);
    return done;
  }

  async function forgetCaches(): Promise<void> {
    await rm(repository.env.XDG_CACHE_HOME!, { recursive: true });
    warm.clear();
  }

  test("the full one is stored whole", async () => {
    image = await RbdImage.create(repository.env, { sizeBytes: SIZE_BYTES });
    for (let at = 0; at < SIZE_BYTES; at += FILL_BYTES) {
      await image.change([write(1 + at / FILL_BYTES, at, Math.min(FILL_BYTES, SIZE_BYTES - at))]);
    }
    const { report } = await night();
    expect(report.chunks).toMatchObject({ total: CHUNKS, new: CHUNKS, patched: 0 });
  });

  test(
    "the first costs its blocks, and of the chunks its leaves, on a host that remembers nothing",
    async () => {
      await forgetCaches();
      const cold = await writeBlocks(1);
      const { report } = await night();
      const { chunks, uploaded_bytes, downloaded_bytes } = report;
      expect(chunks).toMatchObject({ changed: cold, new: 0, zero: 0, reused: 0, patched: cold });
      expect(uploaded_bytes).toBeLessThanOrEqual(1.25 * WRITES * BLOCK_BYTES);
      expect(downloaded_bytes).toBe(FRONT_BYTES * cold);
    },
  );

  test(
    "the others download the leaves of a chunk once, and else nothing, also where whole objects come",
    async () => {
      for (let n = 2; n <= INCREMENTS; n++) {
        if (n === COLD_AGAIN) await forgetCaches();
        const cold = await writeBlocks(n);
        const { report } = await night(...n === WHOLE_OBJECTS ? ["--whole-object"] : []);
        const { chunks, downloaded_bytes, uploaded_bytes } = report;
        expect({ n, new: chunks.new, zero: chunks.zero }).toEqual({ n, new: 0, zero: 0 });
        expect(chunks.patched).toBeGreaterThan(CHUNKS / 2);
        // All blocks that changed since the full one, at the most.
        expect(uploaded_bytes).toBeLessThanOrEqual(1.25 * n * WRITES * BLOCK_BYTES);
        // Where the patch before is not in the cache either, it is needed for its blocks: twice the mean is plenty.
        const patchBytes = n < COLD_AGAIN ? 0 : 2 * n * WRITES / CHUNKS * BLOCK_BYTES;
        expect(downloaded_bytes).toBeGreaterThanOrEqual(FRONT_BYTES * cold);
        expect(downloaded_bytes).toBeLessThanOrEqual((FRONT_BYTES + patchBytes) * cold);
      }
    },
  );

  test("what is stored is far from whole chunks", async () => {
    const { stored_bytes } = await repository.json<ProjectStats>(["stats", "acme"]);
    const patches = nights.slice(1).reduce((sum, { report }) => sum + report.uploaded_bytes, 0);
    console.log(
      `${summary(nights)}\nstored: ${mib(stored_bytes)} MiB, of that increments ${mib(patches)} MiB`,
    );
    expect(stored_bytes).toBeLessThan(SIZE_BYTES * 1.02 + patches * 1.02);
  });

  test("every point comes back, to a new file and in place over the one before", async () => {
    const [fresh, inPlace] = [repository.path("fresh"), repository.path("in-place")];
    const restore = async (at: number, to: string): Promise<RestoreReport> => {
      const point = `${NAME}@${nights[at]!.report.backup}`;
      const report = await repository.json<RestoreReport>(["restore", point, "--to", to]);
      expect({ at, sum: await run(`sha256sum < ${to}`) }).toEqual({ at, sum: nights[at]!.sum });
      return report;
    };
    for (let at = 0; at < nights.length; at++) {
      const reports = { new: await restore(at, fresh), "in place": await restore(at, inPlace) };
      await rm(fresh);
      for (const [way, { duration_s, downloaded_bytes }] of Object.entries(reports)) {
        console.log(`restore s${at} ${way}: ${duration_s} s, ${mib(downloaded_bytes)} MiB downloaded`);
      }
    }
  });

  test("verify finds nothing", async () => {
    expect(await repository.json(["verify", "acme"])).toMatchObject({ findings: [] });
  });
});

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(2);
}

/** A line for each backup. */
function summary(nights: readonly Night[]): string {
  const lines = nights.map(({ report, wall_s }, n) => {
    const { stream_bytes, uploaded_bytes, downloaded_bytes, duration_s, chunks } = report;
    const counts = `${chunks.changed} chunks changed, ${chunks.patched} patched, ${chunks.new} new`;
    const bytes = `stream ${mib(stream_bytes)}, up ${mib(uploaded_bytes)}, down ${mib(downloaded_bytes)} MiB`;
    return `s${n}: ${counts}; ${bytes}; ${duration_s} s, with the export ${wall_s.toFixed(1)} s`;
  });
  return [...lines, `written a night: ${mib(WRITES * BLOCK_BYTES)} MiB`].join("\n");
}
