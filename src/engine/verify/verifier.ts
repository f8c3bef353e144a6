/** Looks for everything that restore points refer to, and reads back what is chosen of it. */
import type { Context } from "../../context.ts";
import { cannotRead, isUnreadable, MissingError, type UnreadableError } from "../../errors.ts";
import {
  chunkName,
  chunkShardPrefix,
  manifestName,
  type ObjectRef,
  parseChunkName,
} from "../../format/layout.ts";
import { isPossibleChunkSize } from "../../format/object.ts";
import type { OpenManifest } from "../../project/manifests.ts";
import { checkBeside } from "../../project/check_beside.ts";
import type { Project } from "../../project/project.ts";
import type { QuarantinedObjects } from "../../project/sharing/quarantine.ts";
import { forEachLimited } from "../../util/task_limiter.ts";
import { ChunkReader } from "../../volume/read_chunk.ts";
import {
  ALL_IDS,
  collectReferences,
  type ManifestScope,
  MAX_IDS,
  type ReferenceSet,
} from "../../volume/references.ts";
import type { ChunkResources } from "../../volume/resources.ts";
import { type Finding, findingOf } from "./findings.ts";
import { isWhole } from "./look_again.ts";
import { missingPoints, type ReadPoints } from "./missing_points.ts";
import { type SeenPoint, seenPoint } from "./points.ts";
import { isChosen, type Sample, shareOf } from "./sample.ts";
import type { VerifiedChunks } from "./verified_chunks.ts";

/** Shards of the listing read at once. */
const SHARDS_AT_ONCE = 8;
/** Objects asked for one by one at once. */
const QUESTIONS_AT_ONCE = 16;
/** Marked objects that nothing else read are read by a verify that reads only a part, up to so many. */
const MAX_MARKED_READ = 1000;

/** What of a project is verified, and how. */
export interface VerifierOptions {
  scope: ManifestScope;
  sample: Sample;
  verified: VerifiedChunks;
  /** Chunks that this host found whole at most so many days ago are not read again. */
  maxAgeDays?: number | undefined;
  maxIds?: number | undefined;
  onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

export interface VerifyProgress {
  /** Points whose references are known. */
  points: number;
  /** Read back, or found whole lately; of `expected`, once all chunks are known. */
  chunks: number;
  expected: number | undefined;
  /** Downloaded. */
  bytes: number;
}

export class Verifier {
  chunks = 0;
  chunksRead = 0;
  chunksFresh = 0;
  downloadedBytes = 0;
  /** By key. */
  readonly findings = new Map<string, Finding>();
  /** By the names of their manifests: the points that every walk has seen. */
  seen: ReadonlyMap<string, SeenPoint> = new Map();
  /** Marked objects that were read whole. */
  readonly lifted: ObjectRef[] = [];
  readonly #project: Project;
  readonly #resources: ChunkResources;
  readonly #reader: ChunkReader;
  readonly #marked: QuarantinedObjects;
  /** Names of marked objects that points refer to as chunks. */
  readonly #markedChunks = new Set<string>();
  /** About how many chunks all rounds until now had to read back. */
  #chosen = 0;
  /** The last round has begun. */
  #isLast = false;
  readonly #options: VerifierOptions;
  readonly #context: Context;

  constructor(
    parts: { project: Project; resources: ChunkResources; marked: QuarantinedObjects },
    options: VerifierOptions,
    context: Context,
  ) {
    this.#project = parts.project;
    this.#resources = parts.resources;
    const onDownload = (bytes: number) => this.downloadedBytes += bytes;
    this.#reader = new ChunkReader({ ...parts, onDownload }, context.signal);
    this.#marked = parts.marked;
    this.#options = options;
    this.#context = context;
  }

  /** One walk for as many ids as fit in memory. */
  async run(): Promise<void> {
    const { maxIds = MAX_IDS, scope } = this.#options;
    const onDamage = (error: UnreadableError) => this.#find(error);
    let read: ReadPoints = { points: new Set(), passedOver: new Map() };
    for (let from = 0; from < ALL_IDS.to;) {
      const seen = new Map<string, SeenPoint>();
      using references = await collectReferences(this.#project, {
        range: { from, to: ALL_IDS.to },
        maxIds,
        chunksOnly: true,
        scope,
        onManifest: (manifest) => this.#see(seen, { manifest, isFirst: from === 0 }),
        onDamage,
      }, this.#context);
      this.seen = seen;
      await this.#markPresent(references);
      this.chunks += references.size;
      await this.#confirmAbsent(references);
      await this.#readBack(references);
      read = references;
      from = references.to;
    }
    for await (const error of missingPoints(this.#project, { read, scope }, this.#context)) {
      if (!this.findings.has(error.key)) this.#find(error);
    }
    await this.#readMarked();
    await checkBeside(this.#project, { volume: scope.volume, onDamage }, this.#context);
  }

  /** Only what all walks have seen was looked at as a whole. */
  #see(
    seen: Map<string, SeenPoint>,
    { manifest: { info }, isFirst }: { manifest: OpenManifest; isFirst: boolean },
  ): void {
    const name = manifestName(info.volume, info.backup);
    if (isFirst || this.seen.has(name)) seen.set(name, seenPoint(info));
    if (isFirst) this.#tell(seen.size);
  }

  async #markPresent(references: ReferenceSet): Promise<void> {
    await forEachLimited(references.firstBytes(), SHARDS_AT_ONCE, async (shard) => {
      for await (const { name, sizeBytes } of this.#project.list(chunkShardPrefix(shard), this.#context)) {
        if (!isPossibleChunkSize(sizeBytes, this.#project.chunkBytes)) continue;
        const ref = parseChunkName(name);
        if (ref !== undefined) references.mark(ref);
      }
    });
  }

  /** That a listing lacks an object is one look: it is asked for before it is called missing. */
  async #confirmAbsent(references: ReferenceSet): Promise<void> {
    const confirm = (ref: ObjectRef) => this.#confirm(ref, references);
    await forEachLimited(references.refs(false), QUESTIONS_AT_ONCE, confirm);
  }

  async #confirm(ref: ObjectRef, references: ReferenceSet): Promise<void> {
    const { chunkBytes } = this.#project;
    const name = chunkName(ref);
    const key = this.#project.objectKey(name);
    try {
      const info = await this.#project.head(name, this.#context);
      if (info === undefined) throw new MissingError(key, `Cannot read "${key}": no such object`);
      if (!isPossibleChunkSize(info.sizeBytes, chunkBytes)) {
        throw cannotRead(key, `its size of ${info.sizeBytes} bytes is impossible`);
      }
      references.mark(ref);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      if (this.#marked.has(ref)) this.#markedChunks.add(name);
      this.#find(error);
    }
  }

  /** What is marked is read whatever the sample: that it is there says nothing. */
  async #readBack(references: ReferenceSet): Promise<void> {
    const { sample } = this.#options;
    if (sample.kind === "none" && this.#marked.none) return;
    this.#chosen += Math.round(references.size * shareOf(sample));
    this.#isLast = references.to === ALL_IDS.to;
    await forEachLimited(this.#toRead(references), this.#resources.window, (ref) => this.#read(ref));
  }

  *#toRead(references: ReferenceSet): Generator<ObjectRef> {
    for (const ref of references.refs(true)) {
      const isMarked = this.#marked.has(ref);
      if (isMarked) this.#markedChunks.add(chunkName(ref));
      else if (!isChosen(ref, this.#options.sample)) continue;
      if (!isMarked && this.#isFresh(ref)) this.chunksFresh++;
      else yield ref;
    }
  }

  /** The same content under two keys is two objects: only plain keys are remembered. */
  #isFresh({ id, lease }: ObjectRef): boolean {
    const { maxAgeDays } = this.#options;
    return maxAgeDays !== undefined && lease === undefined &&
      this.#options.verified.isFresh(id, maxAgeDays);
  }

  /** Of what is marked: pages, and objects that no point needs by now. */
  async #readMarked(): Promise<void> {
    const rest = [...this.#marked.refs()].filter((ref) => {
      const name = chunkName(ref);
      return !this.#markedChunks.has(name) && !this.findings.has(this.#project.objectKey(name));
    });
    if (this.#options.sample.kind !== "all" && rest.length > MAX_MARKED_READ) return;
    for (const ref of rest) {
      const options = { ref, resources: this.#resources };
      const isOver = await isWhole(this.#project, options, this.#context) || await this.#isCollected(ref);
      if (isOver) this.lifted.push(ref);
    }
  }

  /** What no point needs and a gc has deleted. Where something could not be read, it may be needed by that. */
  async #isCollected(ref: ObjectRef): Promise<boolean> {
    const { volume, backup } = this.#options.scope;
    if (volume !== undefined || backup !== undefined || this.findings.size > 0) return false;
    const name = chunkName(ref);
    if (await this.#project.head(name, this.#context) !== undefined) return false;
    for await (const found of this.#project.list(name, this.#context)) if (found.name === name) return false;
    return true;
  }

  async #read(ref: ObjectRef): Promise<void> {
    this.#context.signal.throwIfAborted();
    const buffer = await this.#resources.chunks.acquire();
    try {
      await this.#reader.assertObject(buffer, ref);
      this.chunksRead++;
      if (ref.lease === undefined) this.#options.verified.add(ref.id);
      if (this.#marked.has(ref)) this.lifted.push(ref);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      this.#options.verified.forget(ref.id);
      this.#find(error);
    } finally {
      buffer.release();
    }
    this.#tell(this.seen.size);
  }

  #tell(points: number): void {
    const chunks = this.chunksRead + this.chunksFresh;
    const expected = this.#isLast ? Math.max(chunks, this.#chosen) : undefined;
    this.#options.onProgress?.({ points, chunks, expected, bytes: this.downloadedBytes });
  }

  #find(error: UnreadableError): void {
    this.findings.set(error.key, findingOf(error));
  }
}
