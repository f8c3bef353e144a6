/**
 * Verify: is everything that restore points refer to there, and does it still hold what was stored? Finds and tells,
 * changes nothing.
 */
import type { Secret } from "../../codec/keys.ts";
import { DamageError, describeError, MissingError } from "../../errors.ts";
import { chunkName, chunkShardPrefix, type ObjectRef, parseChunkName } from "../../format/layout.ts";
import type { Context } from "../context.ts";
import { findBackup } from "../catalog.ts";
import { checkObject } from "../chunks/read_chunk.ts";
import { ChunkWorkshop } from "../chunks/workshop.ts";
import { type Finding, locateFindings } from "./findings.ts";
import { openProject, type Project } from "../project.ts";
import {
  ALL_IDS,
  collectReferences,
  type ManifestScope,
  MAX_IDS,
  type ReferenceSet,
} from "../gc/references.ts";
import type { Repository } from "../repository.ts";
import { VerifiedChunks } from "./verified_chunks.ts";
import { Window } from "../window.ts";

/** Shards of the listing read at once. */
const SHARDS_AT_ONCE = 8;

/** Which of the chunks that are there are read back: none, all, or a part of them. */
export type Sample =
  | { kind: "none" }
  | { kind: "all" }
  /** Chosen anew each time. */
  | { kind: "share"; share: number; random: () => number }
  /** Part number `part` of `parts`: after all parts every chunk was read. */
  | { kind: "part"; part: number; parts: number };

export interface VerifyOptions {
  project: string;
  volume?: string | undefined;
  point?: string | undefined;
  secret: Secret;
  sample: Sample;
  /** Chunks that this host found whole at most so many days ago are not read again. */
  maxAgeDays?: number | undefined;
  maxIds?: number | undefined;
  onProgress?: ((progress: { chunks: number; bytes: number }) => void) | undefined;
}

/** The JSON of `varve verify`. */
export interface VerifyReport {
  project: string;
  /** Different chunks that restore points refer to. */
  chunks: number;
  /** Of these, read back. */
  chunks_read: number;
  /** Not read, for they were found whole lately. */
  chunks_fresh: number;
  downloaded_bytes: number;
  findings: Finding[];
  duration_s: number;
}

/** Verifies a project, one of its volumes or one point. Damage is in the report, only what stops the work is thrown. */
export async function verify(
  repository: Repository,
  options: VerifyOptions,
  context: Context,
): Promise<VerifyReport> {
  const startedMs = context.clock.now();
  const { project: name, secret } = options;
  const project = await openProject(repository, { name, secret, create: false }, context);
  const scope = await scopeOf(project, options, context);
  const workshop = new ChunkWorkshop({ chunkBytes: project.chunkBytes, from: "store" }, context);
  const verified = await VerifiedChunks.open(project, context);
  const verifier = new Verifier({ project, scope, workshop, verified, options }, context);
  try {
    await verifier.run();
  } finally {
    await workshop.close();
    if (verifier.chunksRead > 0) await verified.save(); // also of a run that was interrupted
  }
  const findings = await locateFindings(project, { findings: verifier.findings, scope }, context);
  const { chunks, chunksRead: chunks_read, chunksFresh: chunks_fresh, downloadedBytes: downloaded_bytes } =
    verifier;
  const duration_s = (context.clock.now() - startedMs) / 1000;
  return { project: name, chunks, chunks_read, chunks_fresh, downloaded_bytes, findings, duration_s };
}

async function scopeOf(
  project: Project,
  { volume, point }: VerifyOptions,
  context: Context,
): Promise<ManifestScope> {
  if (volume === undefined || point === undefined) return { volume };
  return { volume, backup: await findBackup(project, { volume, point }, context) };
}

class Verifier {
  chunks = 0;
  chunksRead = 0;
  chunksFresh = 0;
  downloadedBytes = 0;
  /** By key. */
  readonly findings = new Map<string, Finding>();
  readonly #project: Project;
  readonly #scope: ManifestScope;
  readonly #workshop: ChunkWorkshop;
  readonly #verified: VerifiedChunks;
  readonly #options: VerifyOptions;
  readonly #context: Context;

  constructor(
    parts: {
      project: Project;
      scope: ManifestScope;
      workshop: ChunkWorkshop;
      verified: VerifiedChunks;
      options: VerifyOptions;
    },
    context: Context,
  ) {
    this.#project = parts.project;
    this.#scope = parts.scope;
    this.#workshop = parts.workshop;
    this.#verified = parts.verified;
    this.#options = parts.options;
    this.#context = context;
  }

  /** One walk for as many ids as fit in memory. */
  async run(): Promise<void> {
    const { maxIds = MAX_IDS } = this.#options;
    for (let from = 0; from < ALL_IDS.to;) {
      using references = await collectReferences(this.#project, {
        range: { from, to: ALL_IDS.to },
        maxIds,
        chunksOnly: true,
        scope: this.#scope,
        onDamage: (error) => this.#find(error),
      }, this.#context);
      await this.#markPresent(references);
      this.chunks += references.size;
      for (const ref of references.refs(false)) this.#findMissing(ref);
      if (this.#options.sample.kind !== "none") await this.#readBack(references);
      from = references.to;
    }
  }

  async #markPresent(references: ReferenceSet): Promise<void> {
    const window = new Window(SHARDS_AT_ONCE);
    try {
      for (let shard = references.from; shard < references.to; shard++) {
        await window.add(async () => {
          for await (const { name } of this.#project.list(chunkShardPrefix(shard), this.#context)) {
            const ref = parseChunkName(name);
            if (ref !== undefined) references.mark(ref);
          }
        });
      }
      await window.drain();
    } finally {
      await window.settle();
    }
  }

  #findMissing(ref: ObjectRef): void {
    const key = this.#project.key(chunkName(ref));
    this.#find(new MissingError(key, `Cannot read "${key}": no such object`));
  }

  async #readBack(references: ReferenceSet): Promise<void> {
    const window = new Window(this.#workshop.window);
    try {
      for (const ref of references.refs(true)) {
        if (!isChosen(ref, this.#options.sample)) continue;
        if (this.#isFresh(ref)) this.chunksFresh++;
        else await window.add(() => this.#read(ref));
      }
      await window.drain();
    } finally {
      await window.settle();
    }
  }

  /** The same content under two keys is two objects: only plain keys are remembered. */
  #isFresh({ id, lease }: ObjectRef): boolean {
    const { maxAgeDays } = this.#options;
    return maxAgeDays !== undefined && lease === undefined && this.#verified.isFresh(id, maxAgeDays);
  }

  async #read(ref: ObjectRef): Promise<void> {
    this.#context.signal.throwIfAborted();
    const buffer = await this.#workshop.chunks.acquire();
    try {
      await checkObject(buffer, ref, {
        project: this.#project,
        workshop: this.#workshop,
        signal: this.#context.signal,
        onDownload: (bytes) => this.downloadedBytes += bytes,
      });
      this.chunksRead++;
      if (ref.lease === undefined) this.#verified.add(ref.id);
    } catch (error) {
      if (!(error instanceof DamageError || error instanceof MissingError)) throw error;
      this.#find(error);
    } finally {
      buffer.release();
    }
    this.#options.onProgress?.({ chunks: this.chunksRead, bytes: this.downloadedBytes });
  }

  #find(error: DamageError | MissingError): void {
    const kind = error instanceof MissingError ? "missing" : "damaged";
    this.findings.set(error.key, { kind, key: error.key, reason: describeError(error), places: [] });
  }
}

function isChosen({ id }: ObjectRef, sample: Sample): boolean {
  switch (sample.kind) {
    case "none":
      return false;
    case "all":
      return true;
    case "share":
      return sample.random() < sample.share;
    case "part":
      return new DataView(id.buffer, id.byteOffset).getUint32(8, true) % sample.parts === sample.part;
  }
}
