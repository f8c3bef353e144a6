/**
 * Restore: manifest → pages → compare with the target → fetch what differs → verify → write → sync. Chunks are read,
 * hashed, downloaded and opened side by side, and written in ascending order.
 */
import { hostname } from "node:os";
import type { Secret } from "../codec/keys.ts";
import { DamageError, describeError, MissingError, StoreError, VarveError } from "../errors.ts";
import { equalBytes } from "../format/bytes.ts";
import type { Entry } from "../format/entries.ts";
import { chunkName } from "../format/layout.ts";
import { chunkLength, PAGE_CHUNKS } from "../format/limits.ts";
import type { SharedBuffer } from "../pool/buffers.ts";
import type { Target } from "../target/target.ts";
import { findBackup, type OpenManifest, readManifest } from "./catalog.ts";
import { ChunkWorkshop, fetchChunk } from "./chunk_store.ts";
import type { Context } from "./context.ts";
import { Lease } from "./lease.ts";
import { readPage } from "./page_table.ts";
import { openProject, type Project } from "./project.ts";
import type { Repository } from "./repository.ts";
import { VolumeCache } from "./volume_cache.ts";
import { mapOrdered } from "./window.ts";

export interface RestoreOptions {
  project: string;
  volume: string;
  point: string | undefined;
  secret: Secret;
  /** Go on after a damaged chunk; what it should have written is left as it is and reported. */
  keepGoing: boolean;
  openTarget: (sizeBytes: number) => Promise<Target>;
  onProgress?: ((progress: RestoreProgress) => void) | undefined;
}

export interface RestoreProgress {
  sizeBytes: number;
  doneBytes: number;
  downloadedBytes: number;
  writtenBytes: number;
}

/** A part of the target that does not hold what the backup held. */
export interface DamagedRange {
  offset: number;
  length: number;
  key: string;
  reason: string;
}

/** The JSON of `varve restore`. The target equals the backup only where `damaged` is empty. */
export interface RestoreReport {
  backup: string;
  size_bytes: number;
  chunks: { total: number; zero: number; matched: number; written: number };
  downloaded_bytes: number;
  written_bytes: number;
  duration_s: number;
  damaged: DamagedRange[];
}

/** A position of the volume and what the backup has there; `damage` where the page that says so is damaged. */
interface Wanted {
  offset: number;
  length: number;
  entry: Entry;
  damage?: { key: string; reason: string };
}

/** What has to be done to the target at one position. */
type Step =
  | { kind: "matched"; wanted: Wanted }
  | { kind: "zero"; wanted: Wanted }
  | { kind: "write"; wanted: Wanted; buffer: SharedBuffer }
  | { kind: "damaged"; wanted: Wanted; key: string; reason: string };

/**
 * Brings the target to the state of the backup. Throws `DamageError` at the first damaged chunk unless `keepGoing`; an
 * error of store or target at once. The target is as the backup says only if this returns with nothing damaged.
 */
export async function restore(
  repository: Repository,
  options: RestoreOptions,
  context: Context,
): Promise<RestoreReport> {
  const startedMs = context.clock.now();
  const name = options.project;
  const project = await openProject(repository, { name, secret: options.secret, create: false }, context);
  const lease = await tryLease(project, options, context);
  try {
    const backup = await findBackup(project, options, context);
    const manifest = await readManifest(project, { volume: options.volume, backup }, context);
    const target = await options.openTarget(manifest.info.size_bytes);
    const cache = await VolumeCache.open({ project, volume: options.volume }, context);
    cache.expect(manifest);
    try {
      const report = await new Restorer({ project, manifest, target, options, cache }, context).run();
      if (report.damaged.length === 0) await cache.renew(manifest);
      return { ...report, duration_s: (context.clock.now() - startedMs) / 1000 };
    } finally {
      await cache.close();
      await target.close();
    }
  } finally {
    await lease?.end();
  }
}

/** With the right to write a gc is made to wait for the restore; without it, the restore goes on all the same. */
async function tryLease(
  project: Project,
  options: RestoreOptions,
  context: Context,
): Promise<Lease | undefined> {
  try {
    const { volume } = options;
    return await Lease.begin(
      project,
      { work: "restore", volume, host: hostname(), key: project.firstKey },
      context,
    );
  } catch (error) {
    if (!(error instanceof StoreError) || error.retryable) throw error;
    context.log.debug({ err: error }, "restoring without a lease: the store does not let us write one");
    return undefined;
  }
}

class Restorer {
  readonly #project: Project;
  readonly #manifest: OpenManifest;
  readonly #target: Target;
  readonly #options: RestoreOptions;
  readonly #cache: VolumeCache;
  readonly #context: Context;
  readonly #workshop: ChunkWorkshop;
  readonly #counts = { total: 0, zero: 0, matched: 0, written: 0 };
  readonly #damaged: DamagedRange[] = [];
  readonly #progress: RestoreProgress;

  constructor(
    parts: {
      project: Project;
      manifest: OpenManifest;
      target: Target;
      options: RestoreOptions;
      cache: VolumeCache;
    },
    context: Context,
  ) {
    this.#project = parts.project;
    this.#manifest = parts.manifest;
    this.#target = parts.target;
    this.#options = parts.options;
    this.#cache = parts.cache;
    this.#context = context;
    this.#workshop = new ChunkWorkshop(parts.project.chunkBytes, context.threads);
    const { size_bytes } = parts.manifest.info;
    this.#progress = { sizeBytes: size_bytes, doneBytes: 0, downloadedBytes: 0, writtenBytes: 0 };
  }

  async run(): Promise<Omit<RestoreReport, "duration_s">> {
    try {
      const steps = mapOrdered(this.#wanted(), (wanted) => this.#prepare(wanted), {
        limit: this.#workshop.window,
        drop: (step) => {
          if (step.kind === "write") step.buffer.release();
        },
      });
      for await (const step of steps) await this.#apply(step);
      await this.#target.sync();
    } finally {
      await this.#workshop.close();
    }
    return this.#report();
  }

  /** Every position of the volume in order. */
  async *#wanted(): AsyncGenerator<Wanted> {
    const { info, pages, key } = this.#manifest;
    const volume = { sizeBytes: info.size_bytes, chunkBytes: info.chunk_bytes };
    const total = Math.ceil(volume.sizeBytes / volume.chunkBytes);
    for (let page = 0; page * PAGE_CHUNKS < total; page++) {
      const ref = pages.get(page);
      const read = ref === undefined ? undefined : await this.#readPage(page, ref, key);
      for (let at = page * PAGE_CHUNKS; at < Math.min(total, (page + 1) * PAGE_CHUNKS); at++) {
        const range = { offset: at * volume.chunkBytes, length: chunkLength(at, volume) };
        if (read !== undefined && "damage" in read) yield { ...range, entry: undefined, damage: read.damage };
        else yield { ...range, entry: read?.entries.get(at % PAGE_CHUNKS) };
      }
    }
  }

  async #readPage(page: number, ref: NonNullable<Entry>, key: OpenManifest["key"]) {
    try {
      return {
        entries: await readPage(page, ref, {
          project: this.#project,
          key,
          local: this.#cache,
          signal: this.#context.signal,
        }),
      };
    } catch (error) {
      if (error instanceof DamageError || error instanceof MissingError) {
        return { damage: { key: error.key, reason: describeError(error) } };
      }
      throw error;
    }
  }

  /** Compares with the target and, where it differs, downloads and verifies. */
  async #prepare(wanted: Wanted): Promise<Step> {
    this.#context.signal.throwIfAborted();
    if (wanted.damage !== undefined) return { kind: "damaged", wanted, ...wanted.damage };
    const comparable = wanted.offset + wanted.length <= this.#target.readableBytes;
    if (wanted.entry === undefined && !comparable) return { kind: "zero", wanted };
    const buffer = await this.#workshop.chunks.acquire();
    let keep = false;
    try {
      if (comparable && await this.#matches(wanted, buffer)) return { kind: "matched", wanted };
      if (wanted.entry === undefined) return { kind: "zero", wanted };
      const step = await this.#fetch(wanted, wanted.entry, buffer);
      keep = step.kind === "write";
      return step;
    } finally {
      if (!keep) buffer.release();
    }
  }

  async #matches(wanted: Wanted, buffer: SharedBuffer): Promise<boolean> {
    await this.#target.read(wanted.offset, buffer.bytes.subarray(0, wanted.length));
    const id = await this.#workshop.pool.hash({ buffer, length: wanted.length }, this.#manifest.key.idKey);
    if (id === undefined || wanted.entry === undefined) return id === wanted.entry;
    return equalBytes(id, wanted.entry.id);
  }

  async #fetch(wanted: Wanted, ref: NonNullable<Entry>, buffer: SharedBuffer): Promise<Step> {
    const { key: keys } = this.#manifest;
    const key = this.#project.key(chunkName(ref));
    const options = { project: this.#project, keys, workshop: this.#workshop, signal: this.#context.signal };
    try {
      const { length, downloadedBytes } = await fetchChunk(buffer, ref, options);
      this.#progress.downloadedBytes += downloadedBytes;
      if (length === wanted.length) return { kind: "write", wanted, buffer };
      return {
        kind: "damaged",
        wanted,
        key,
        reason: `it holds ${length} bytes, the volume has ${wanted.length} there`,
      };
    } catch (error) {
      if (error instanceof DamageError || error instanceof MissingError) {
        return { kind: "damaged", wanted, key, reason: describeError(error) };
      }
      throw error;
    }
  }

  /** One at a time and ascending. */
  async #apply(step: Step): Promise<void> {
    const { offset, length } = step.wanted;
    try {
      if (step.kind === "matched") this.#counts.matched++;
      else if (step.kind === "zero") await this.#zero(offset, length);
      else if (step.kind === "write") await this.#write(offset, step.buffer.bytes.subarray(0, length));
      else await this.#damage(step);
    } finally {
      if (step.kind === "write") step.buffer.release();
    }
    this.#counts.total++;
    this.#progress.doneBytes = offset + length;
    this.#options.onProgress?.(this.#progress);
  }

  async #zero(offset: number, length: number): Promise<void> {
    this.#counts.zero++;
    if (!this.#target.empty) await this.#target.zero(offset, length);
  }

  async #write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#target.write(offset, bytes);
    this.#counts.written++;
    this.#progress.writtenBytes += bytes.length;
  }

  async #damage(step: Extract<Step, { kind: "damaged" }>): Promise<void> {
    const { offset, length } = step.wanted;
    const { key, reason } = step;
    if (!this.#options.keepGoing) throw this.#stopAt(step);
    this.#damaged.push({ offset, length, key, reason });
    // A stream cannot leave a hole: zeros stand where the damaged chunk was.
    if (this.#target.sequential) await this.#target.zero(offset, length);
  }

  #stopAt({ wanted, key, reason }: Extract<Step, { kind: "damaged" }>): VarveError {
    const { project, volume, backup } = this.#manifest.info;
    return new DamageError(
      key,
      `Cannot restore "${project}/${volume}@${backup}" at offset ${wanted.offset} (${wanted.length} bytes): ${reason}; ` +
        `the target is incomplete. --keep-going restores the rest`,
    );
  }

  #report(): Omit<RestoreReport, "duration_s"> {
    const { backup, size_bytes } = this.#manifest.info;
    return {
      backup,
      size_bytes,
      chunks: this.#counts,
      downloaded_bytes: this.#progress.downloadedBytes,
      written_bytes: this.#progress.writtenBytes,
      damaged: this.#damaged,
    };
  }
}
