/**
 * The way of the data of a restore: what is wanted at a position → compare with the target → fetch → verify → write.
 * Comparing and fetching run side by side, writing is one at a time and ascends.
 */
import type { ChunkCache } from "../../cache/chunk_cache.ts";
import { DamageError, describeError, isUnreadable, VarveError } from "../../errors.ts";
import { sameBytes } from "../../util/bytes.ts";
import { type ChunkLocation, refsOf } from "../../format/entries.ts";
import { chunkName } from "../../format/layout.ts";
import { MAX_PATCH_SHARE } from "../../format/patch.ts";
import type { SharedBuffer } from "../../volume/pool/buffers.ts";
import type { Target } from "../../targets/target.ts";
import type { OpenManifest } from "../../project/manifests.ts";
import { ChunkReader } from "../../volume/read_chunk.ts";
import type { ChunkResources } from "../../volume/resources.ts";
import type { Context } from "../../context.ts";
import type { Project } from "../../project/project.ts";
import type { Wanted } from "./restore_plan.ts";
import type { SharedChunks } from "./shared_chunks.ts";
import { mapOrdered } from "../../util/task_limiter.ts";

/**
 * Positions that are looked at before the first of them is done: while one is fetched, those behind it are compared.
 * How many of them are in work at once is up to the chunk buffers, which they get in their order.
 */
const LOOK_AHEAD = 256;

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
  /** What the target has there: `kept` what it had, or `zeros`. */
  target: "kept" | "zeros";
}

export interface RestoreCounts {
  /** Positions that were asked for. */
  total: number;
  /** Made zeros, or zeros of a new target. */
  zero: number;
  /** Left as they were. */
  matched: number;
  /** Downloaded and written; of a dry run, what would be. */
  written: number;
}

interface RestorerOptions {
  project: Project;
  manifest: OpenManifest;
  target: Target;
  resources: ChunkResources;
  /** What is needed more than once, and where it is kept meanwhile. */
  shared: SharedChunks;
  cache: ChunkCache | undefined;
  keepGoing: boolean;
  /** Compare only. */
  dryRun: boolean;
  onProgress: (progress: RestoreProgress) => void;
}

/** What has to be done to the target at one position. */
type Step =
  | { kind: "matched"; wanted: Wanted }
  | { kind: "zero"; wanted: Wanted }
  | { kind: "write"; wanted: Wanted; buffer: SharedBuffer }
  | { kind: "planned"; wanted: Wanted }
  | { kind: "damaged"; wanted: Wanted; key: string; reason: string };

export class Restorer {
  readonly counts: RestoreCounts = { total: 0, zero: 0, matched: 0, written: 0 };
  readonly damaged: DamagedRange[] = [];
  readonly progress: RestoreProgress;
  /** Of the target. */
  readBytes = 0;
  /** Of a dry run: what may have to be downloaded for what is to be written, before it is compressed. */
  plannedBytes = 0;
  readonly #options: RestorerOptions;
  readonly #context: Context;

  constructor(options: RestorerOptions, context: Context) {
    this.#options = options;
    this.#context = context;
    const { size_bytes } = options.manifest.info;
    this.progress = { sizeBytes: size_bytes, doneBytes: 0, downloadedBytes: 0, writtenBytes: 0 };
  }

  /**
   * Throws `DamageError` at the first damaged chunk unless `keepGoing`, and for a damaged page before anything is written; an
   * error of store or target at once.
   */
  async run(plan: AsyncIterable<Wanted>): Promise<void> {
    const { target, dryRun, shared } = this.#options;
    const { unreadable } = shared;
    if (unreadable?.damage !== undefined && this.#gaps === undefined) {
      throw this.#stopAt({ kind: "damaged", wanted: unreadable, ...unreadable.damage });
    }
    const steps = mapOrdered(plan, (wanted, ended) => this.#prepare(wanted, ended), {
      limit: LOOK_AHEAD,
      drop: (step) => {
        if (step.kind === "write") step.buffer.release();
      },
    });
    for await (const step of steps) await this.#apply(step);
    if (!dryRun) await target.sync();
  }

  /** Compares with the target and, where it differs, downloads and verifies. */
  async #prepare(wanted: Wanted, ended: AbortSignal): Promise<Step> {
    this.#context.signal.throwIfAborted();
    if (wanted.target === "same") return { kind: "matched", wanted };
    if (wanted.damage !== undefined) return { kind: "damaged", wanted, ...wanted.damage };
    // Also where it is known to be other: it may need no more than the blocks of a patch.
    const canCompare = (wanted.target === "unknown" || wanted.entry?.base !== undefined) &&
      wanted.offset + wanted.length <= this.#options.target.readableBytes;
    if (!canCompare && (wanted.entry === undefined || this.#options.dryRun)) return withoutContent(wanted);
    const buffer = await this.#options.resources.chunks.acquire();
    let step: Step | undefined;
    try {
      const signal = AbortSignal.any([this.#context.signal, ended]);
      signal.throwIfAborted();
      step = await this.#compareOrFetch(wanted, { buffer, canCompare, signal });
      return step;
    } finally {
      if (step?.kind !== "write") buffer.release();
    }
  }

  async #compareOrFetch(
    wanted: Wanted,
    { buffer, canCompare, signal }: { buffer: SharedBuffer; canCompare: boolean; signal: AbortSignal },
  ): Promise<Step> {
    const { entry } = wanted;
    if (canCompare && await this.#matches(wanted, buffer)) return { kind: "matched", wanted };
    if (entry === undefined || this.#options.dryRun) return withoutContent(wanted);
    return await this.#options.shared.inTurn(
      refsOf(entry),
      () => this.#fetch(wanted, { location: entry, buffer, holdsOther: canCompare, signal }),
    );
  }

  async #matches(wanted: Wanted, buffer: SharedBuffer): Promise<boolean> {
    const { manifest, target, resources } = this.#options;
    await target.read(wanted.offset, buffer.bytes.subarray(0, wanted.length));
    this.readBytes += wanted.length;
    const id = await resources.pool.hash({ buffer, length: wanted.length }, manifest.keys);
    return sameBytes(id, wanted.entry?.id);
  }

  /** `holdsOther`: the buffer has what the target holds now, which may be the chunk but for a patch. */
  async #fetch(
    wanted: Wanted,
    { location, buffer, holdsOther, signal }: {
      location: ChunkLocation;
      buffer: SharedBuffer;
      holdsOther: boolean;
      signal: AbortSignal;
    },
  ): Promise<Step> {
    const { project, resources, shared, cache } = this.#options;
    const keep = refsOf(location).some((ref) => shared.has(ref));
    const onDownload = (bytes: number) => this.progress.downloadedBytes += bytes;
    const options = { project, resources, cache: keep ? cache : undefined, onDownload };
    const reader = new ChunkReader(options, signal);
    try {
      const length = holdsOther
        ? await reader.update(buffer, location, { length: wanted.length, keep })
        : await reader.read(buffer, location, { keep });
      if (length === wanted.length) return { kind: "write", wanted, buffer };
      const key = project.objectKey(chunkName(location.object));
      const reason = `it has ${length} bytes instead of ${wanted.length}`;
      return { kind: "damaged", wanted, key, reason };
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return { kind: "damaged", wanted, key: error.key, reason: describeError(error) };
    }
  }

  async #apply(step: Step): Promise<void> {
    const { part, offset } = step.wanted;
    try {
      await this.#change(step);
    } finally {
      if (step.kind === "write") step.buffer.release();
    }
    this.counts.total++;
    this.progress.doneBytes = offset + part.to;
    this.#options.onProgress(this.progress);
  }

  async #change(step: Step): Promise<void> {
    const { target, dryRun } = this.#options;
    const { offset, part } = step.wanted;
    const at = offset + part.from;
    const length = part.to - part.from;
    switch (step.kind) {
      case "matched":
        this.counts.matched++;
        return;
      case "planned":
        this.counts.written++;
        this.plannedBytes += this.#options.project.chunkBytes * objectShare(step.wanted);
        return;
      case "zero":
        this.counts.zero++;
        if (!dryRun && !target.empty) await target.zero(at, length);
        return;
      case "write":
        await target.write(at, step.buffer.bytes.subarray(part.from, part.to));
        this.counts.written++;
        this.progress.writtenBytes += length;
        return;
      case "damaged":
        await this.#damage(step, { at, length });
    }
  }

  /** What becomes of a damaged range; `undefined` where it ends the restore. */
  get #gaps(): "kept" | "zeros" | undefined {
    const { keepGoing, target: { gaps } } = this.#options;
    return keepGoing && gaps !== "refused" ? gaps : undefined;
  }

  async #damage(
    step: Extract<Step, { kind: "damaged" }>,
    { at, length }: { at: number; length: number },
  ): Promise<void> {
    const { target, dryRun } = this.#options;
    const { key, reason } = step;
    const gaps = this.#gaps;
    if (gaps === undefined) throw this.#stopAt(step);
    this.damaged.push({ offset: at, length, key, reason, target: gaps });
    if (!dryRun && gaps === "zeros") await target.zero(at, length);
  }

  #stopAt({ wanted, key, reason }: Extract<Step, { kind: "damaged" }>): VarveError {
    const { manifest, target } = this.#options;
    const { project, volume, backup } = manifest.info;
    const advice = target.gaps === "refused" ? "" : "; use --keep-going to restore the rest";
    return new DamageError(
      key,
      `Cannot restore "${project}/${volume}@${backup}" at offset ${wanted.offset} (${wanted.length} bytes): ${reason}; ` +
        `"${target.name}" is incomplete${advice}`,
    );
  }
}

function withoutContent(wanted: Wanted): Step {
  return wanted.entry === undefined ? { kind: "zero", wanted } : { kind: "planned", wanted };
}

/** How much the objects that hold the chunk have, in chunks, at most. */
function objectShare({ entry }: Wanted): number {
  return entry?.base === undefined ? 1 : 1 + MAX_PATCH_SHARE;
}
