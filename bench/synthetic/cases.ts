/**
 * One case of the synthetic benchmark, in a process of its own so that its peak memory is its own: prints one JSON.
 * Usage: cases.ts CASE FOLDER [CHUNKS]
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backup } from "../../src/engine/backup/backup.ts";
import { listBackups } from "../../src/project/catalog.ts";
import type { Context } from "../../src/context.ts";
import { gc } from "../../src/engine/gc/gc.ts";
import { initRepository, type Repository } from "../../src/project/repository.ts";
import { verify } from "../../src/engine/verify/verify.ts";
import { KIB, MIN_CHUNK_BYTES } from "../../src/format/limits.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { noise, testContext, through } from "../../test/kit/engine.ts";
import { data, memorySource, type TestDiff } from "../../test/kit/memory_source.ts";
import { CountingStore, type Requests } from "./counting_store.ts";
import { SyntheticIds } from "./ids.ts";
import { chunksOf, makeProject, PROJECT, type Shape } from "./project.ts";
import { SyntheticStore } from "./store.ts";

/** What a case prints. */
export interface Figures {
  wallS: number;
  /** Of all threads. */
  cpuS: number;
  requests: Requests;
  /** Resident, before and at most during the work; with the store, which is in the same process. */
  storeMib: number;
  peakMib: number;
  note: string;
}

const CONTEXT: Context = { ...testContext({ threads: 2 }), clock: { ...testContext().clock, now: Date.now } };
const GARBAGE_SHARE = 0.1;
const VOLUMES = 12;
const POINTS = 30;
/** Coprime to the numbers of chunks, so that a volume's ids come in no order. */
const STRIDE = 7_368_787;
const TIB_CHUNKS = 262_144;
const FULL_CHUNKS = 4_096;

const [name = "", folder = "", chunks = "0"] = process.argv.slice(2);
const cases: Record<string, () => Promise<Figures>> = {
  "gc --dry-run": () => collect(true),
  "gc": () => collect(false),
  "verify --exists": verifyListing,
  "unchanged backup, cold": () => backUpUnchanged(false),
  "unchanged backup, warm": () => backUpUnchanged(true),
  "first backup": firstBackup,
  "list, cold": () => list(false),
  "list, warm": () => list(true),
};
const run = cases[name];
if (run === undefined) {
  throw new Error(`usage: cases.ts CASE FOLDER [CHUNKS]; there is no case "${name}"`);
}
console.log(JSON.stringify(await run()));
process.exit();

async function collect(dryRun: boolean): Promise<Figures> {
  const { repository, store } = await manyChunks();
  return await measure(repository, async (repository) => {
    const report = await gc(
      repository,
      { project: PROJECT, secrets: [], dryRun, graceMs: 0, force: true },
      CONTEXT,
    );
    const { objects, garbage, deleted } = report;
    return `${objects} objects, ${garbage} garbage, ${deleted} deleted, ${store.chunks} chunks left`;
  });
}

async function verifyListing(): Promise<Figures> {
  const { repository } = await manyChunks();
  return await measure(repository, async (repository) => {
    const options = { project: PROJECT, secrets: [], sample: { kind: "none" } } as const;
    const { chunks, findings } = await verify(repository, options, CONTEXT);
    return `${chunks} chunks, ${findings.length} findings`;
  });
}

/** A tenth of the chunks belongs to no point. */
async function manyChunks(): Promise<{ repository: Repository; store: SyntheticStore }> {
  const ids = new SyntheticIds(Number(chunks));
  const store = new SyntheticStore(ids, { project: PROJECT, path: join(folder, "pages") });
  const eachVolume = ids.count * (1 - GARBAGE_SHARE) / VOLUMES;
  const volumeChunks = Math.floor(0.9 * eachVolume);
  const changedChunks = Math.floor((eachVolume - volumeChunks) / (POINTS - 1));
  const shape = { volumes: VOLUMES, points: POINTS, volumeChunks, changedChunks };
  const repository = await makeProject(store, shape, (n) => ids.id((n * STRIDE) % ids.count));
  if (chunksOf(shape) > ids.count) throw new Error("the points refer to chunks that are not there");
  return { repository, store };
}

/** An increment without any extent, upon 1 TiB. */
async function backUpUnchanged(warm: boolean): Promise<Figures> {
  const shape = { volumes: 1, points: 1, volumeChunks: TIB_CHUNKS, changedChunks: 0 };
  const repository = await pointsOnly(shape);
  const backUp = async (repository: Repository, n: number) => {
    const sizeBytes = TIB_CHUNKS * repository.chunkBytes;
    const diff: TestDiff = { from: `s${n}`, to: `s${n + 1}`, sizeBytes, extents: [] };
    const options = {
      project: PROJECT,
      volume: "vm-0",
      source: memorySource([diff]),
      secrets: [],
      tags: [],
    };
    const [report] = await backup(repository, options, { ...CONTEXT, cacheRoot: folder });
    return `${report!.chunks.total} chunks in the volume`;
  };
  if (warm) await backUp(repository, 0);
  return await measure(repository, (repository) => backUp(repository, warm ? 1 : 0));
}

/** Every chunk is new; small chunks, for requests do not depend on their size. */
async function firstBackup(): Promise<Figures> {
  const repository = await initRepository(new MemoryStore(), { chunkBytes: MIN_CHUNK_BYTES }, CONTEXT);
  const bytes = noise(1, FULL_CHUNKS * MIN_CHUNK_BYTES);
  const diff: TestDiff = { to: "s1", sizeBytes: bytes.length, extents: [data(0, bytes)] };
  return await measure(repository, async (repository) => {
    const options = {
      project: PROJECT,
      volume: "vm-0",
      source: memorySource([diff]),
      secrets: [],
      tags: [],
    };
    const [report] = await backup(repository, options, { ...CONTEXT, cacheRoot: folder });
    return `${report!.chunks.new} new chunks of ${MIN_CHUNK_BYTES / KIB} KiB`;
  });
}

async function list(warm: boolean): Promise<Figures> {
  const repository = await pointsOnly({ volumes: 10, points: 1000, volumeChunks: 32_768, changedChunks: 0 });
  const listAll = async (repository: Repository) => {
    const context = { ...CONTEXT, cacheRoot: folder };
    const points = await listBackups(repository, { project: PROJECT, secrets: [] }, context);
    return `${points.length} points`;
  };
  if (warm) await listAll(repository);
  return await measure(repository, listAll);
}

async function pointsOnly(shape: Shape): Promise<Repository> {
  const ids = new SyntheticIds(chunksOf(shape));
  return await makeProject(new MemoryStore(), shape, (n) => ids.id((n * STRIDE) % ids.count));
}

async function measure(
  repository: Repository,
  work: (repository: Repository) => Promise<string>,
): Promise<Figures> {
  const store = new CountingStore(repository.store);
  Bun.gc(true);
  writeFileSync("/proc/self/clear_refs", "5"); // proc(5): the peak begins anew
  const storeMib = memoryMib("VmRSS");
  const startCpu = process.cpuUsage();
  const startNs = Bun.nanoseconds();
  const note = await work(through(repository, store));
  const wallS = (Bun.nanoseconds() - startNs) / 1e9;
  const cpu = process.cpuUsage(startCpu);
  const cpuS = (cpu.user + cpu.system) / 1e6;
  const peakMib = memoryMib("VmHWM");
  await repository.store.close();
  return { wallS, cpuS, requests: store.requests, storeMib, peakMib, note };
}

function memoryMib(field: "VmRSS" | "VmHWM"): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)![1]) / 1024;
}
