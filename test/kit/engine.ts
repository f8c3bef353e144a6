/** Backup and restore in this process, over any store: the shortest way for a test to make restore points. */
import { backup, type BackupReport } from "../../src/engine/backup/backup.ts";
import type { Context } from "../../src/context.ts";
import { initRepository, type Repository } from "../../src/project/repository.ts";
import { restore, type RestoreReport } from "../../src/engine/restore/restore.ts";
import { createProject, type Secret } from "../../src/project/open_project.ts";
import { VarveError } from "../../src/errors.ts";
import { KIB } from "../../src/format/limits.ts";
import type { Source } from "../../src/sources/source.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { memorySource, type TestDiff } from "./memory_source.ts";
import { MemoryTarget } from "./memory_target.ts";

/** The smallest that there is. */
export const CHUNK_BYTES = 64 * KIB;
export const PROJECT = "acme";
export const VOLUME = "rbd/vm-1";

/** For a gc that plans and sweeps in one run, whatever it finds. */
export const AT_ONCE = { graceMs: 0, force: true } as const;

/** Time stands still and nobody listens to the log, unless a test says otherwise. */
export function testContext(options: Partial<Context> = {}): Context {
  const say = () => {};
  return {
    signal: new AbortController().signal,
    log: { debug: say, info: say, warn: say, error: say },
    clock: { now: () => 0, sleep: (_ms, signal) => untilAborted(signal) },
    host: "host",
    threads: 1,
    ...options,
  };
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((_, reject) => {
    const end = () => reject(signal.reason);
    if (signal.aborted) end();
    signal.addEventListener("abort", end, { once: true });
  });
}

/** A store in memory whose clock goes on by a second with each write. */
export function newStore(): MemoryStore {
  let now = Date.UTC(2026, 0, 1);
  return new MemoryStore({ now: () => now += 1000 });
}

/** A repository with the project, not encrypted. */
export async function newRepository(
  store: Store = newStore(),
  chunkBytes = CHUNK_BYTES,
  id?: string,
): Promise<Repository> {
  const repository = await emptyRepository(store, chunkBytes, id);
  await makeProject(repository);
  return repository;
}

export async function emptyRepository(
  store: Store = newStore(),
  chunkBytes = CHUNK_BYTES,
  id?: string,
): Promise<Repository> {
  return await initRepository(store, { chunkBytes, id }, testContext());
}

/** Makes a project, not encrypted unless with a secret. */
export async function makeProject(
  repository: Repository,
  { name = PROJECT, secret }: { name?: string; secret?: Secret } = {},
): Promise<void> {
  await createProject(repository, { name, secret }, testContext());
}

/** The same repository, reached through another store. */
export function through(repository: Repository, store: Store): Repository {
  return { ...repository, store };
}

/** Makes a project unless another has made it. */
export async function ensureProject(...args: Parameters<typeof makeProject>): Promise<void> {
  await makeProject(...args).catch((error: VarveError) => {
    if (error.code !== "conflict") throw error;
  });
}

export interface Where {
  project?: string;
  volume?: string;
  secret?: Secret;
  context?: Context;
}

/** Another project than `PROJECT` is made where it is not there. */
export async function backUp(
  repository: Repository,
  source: readonly TestDiff[] | Source,
  options: Where & { base?: string | undefined } = {},
): Promise<BackupReport[]> {
  if (options.project !== undefined && options.project !== PROJECT) {
    const { project: name, secret } = options;
    await ensureProject(repository, secret === undefined ? { name } : { name, secret });
  }
  return await backup(repository, {
    project: options.project ?? PROJECT,
    volume: options.volume ?? VOLUME,
    source: "diffs" in source ? source : memorySource(source),
    secrets: options.secret === undefined ? [] : [options.secret],
    tags: [],
    base: options.base,
  }, options.context ?? testContext());
}

export interface RestoreTo extends Where {
  point?: string;
  keepGoing?: boolean;
  /** What stands on the target; without it the target is new. */
  content?: Uint8Array;
  sequential?: boolean;
  /** Told where the target is read. */
  onRead?: (offset: number) => void;
  /** Is given every write instead of a target that holds the bytes: for volumes that are too large. */
  onWrite?: (offset: number, bytes: Uint8Array) => void;
}

export interface Restored {
  report: RestoreReport;
  target: MemoryTarget;
}

export async function restoreTo(repository: Repository, options: RestoreTo = {}): Promise<Restored> {
  let target: MemoryTarget | undefined;
  const report = await restore(repository, {
    project: options.project ?? PROJECT,
    volume: options.volume ?? VOLUME,
    point: options.point,
    secrets: options.secret === undefined ? [] : [options.secret],
    keepGoing: options.keepGoing ?? false,
    trustCache: true,
    dryRun: false,
    verifyTarget: false,
    openTarget: async ({ end }) => target = newTarget(end, options),
  }, options.context ?? testContext());
  return { report, target: target! };
}

function newTarget(sizeBytes: number, options: RestoreTo): MemoryTarget {
  const { onWrite } = options;
  if (onWrite === undefined) return new MemoryTarget(sizeBytes, options);
  return Object.assign(new MemoryTarget(0), {
    write: async (offset: number, bytes: Uint8Array) => onWrite(offset, bytes),
  });
}

/** The bytes of a restore point. */
export async function bytesOf(repository: Repository, options: RestoreTo = {}): Promise<Uint8Array> {
  return (await restoreTo(repository, options)).target.bytes;
}

/** The keys below a prefix. */
export async function keysOf(store: Store, prefix: string): Promise<string[]> {
  return (await Array.fromAsync(store.list(prefix))).map(({ key }) => key);
}

export const MANIFESTS = `projects/${PROJECT}/volumes/`;
export const CHUNKS = `projects/${PROJECT}/chunks/`;
export const LEASES = `projects/${PROJECT}/leases/`;
export const KEYS = `projects/${PROJECT}/keys/`;

/** The error that `work` fails with; a success is a failure of the test. */
export async function errorOf(work: Promise<unknown>): Promise<VarveError> {
  const error = await work.then(() => undefined, (error: unknown) => error);
  if (error === undefined) throw new Error("it did not fail");
  if (error instanceof VarveError) return error;
  throw new Error("it failed with what is no error of varve", { cause: error });
}

/** `length` bytes that do not compress and differ by `seed`. */
export function noise(seed: number, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state >>>= 0;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** Chunks of noise, one after the other. */
export function noiseChunks(...seeds: number[]): Uint8Array {
  return new Uint8Array(Buffer.concat(seeds.map((seed) => noise(seed, CHUNK_BYTES))));
}
