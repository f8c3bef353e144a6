/**
 * Verify: is everything that restore points refer to there, and does it still hold what was stored? Finds and tells, and
 * changes nothing but marks: those of objects that it reads whole go.
 */
import type { Secret } from "../../codec/keys.ts";
import { DamageError, isUnreadable, MissingError, type UnreadableError } from "../../errors.ts";
import {
  chunkName,
  chunkShardPrefix,
  manifestName,
  type ObjectRef,
  parseChunkName,
  parseManifestName,
} from "../../format/layout.ts";
import { isPossibleChunkSize } from "../../format/object.ts";
import type { Context } from "../../context.ts";
import { listPlans } from "../../project/sharing/plans.ts";
import { lostPoints, newestHead } from "../../project/sharing/plan_points.ts";
import { findBackup, type OpenManifest } from "../../project/catalog.ts";
import { assertObject } from "../../volume/read_chunk.ts";
import { ChunkResources } from "../../volume/resources.ts";
import { checkBeside } from "../../project/check_beside.ts";
import { type Finding, findingOf, type Located, locateFindings } from "./findings.ts";
import { isWhole } from "./look_again.ts";
import { QuarantinedObjects, releaseQuarantined } from "../../project/sharing/quarantine.ts";
import { type PointReport, type SeenPoint, seenPoint } from "./points.ts";
import { noBackups } from "../../project/not_found.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import {
  ALL_IDS,
  collectReferences,
  type ManifestScope,
  MAX_IDS,
  type ReferenceSet,
} from "../../volume/references.ts";
import type { Repository } from "../../project/repository.ts";
import { findMissed, throwAsGone } from "../../project/seen_points.ts";
import { VerifiedChunks } from "./verified_chunks.ts";
import { TaskLimiter } from "../../util/task_limiter.ts";

/** Shards of the listing read at once. */
const SHARDS_AT_ONCE = 8;
/** Objects asked for one by one at once. */
const QUESTIONS_AT_ONCE = 16;
/** Marked objects that nothing else read are read by a verify that reads only a part, up to so many. */
const MAX_MARKED_READ = 1000;

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
  secrets: readonly Secret[];
  sample: Sample;
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
  /** Objects that are still marked as not to be used. */
  marked: number;
  /** Whose marks are gone, because they were read whole. */
  unmarked: number;
  points: PointReport[];
  findings: Finding[];
  duration_s: number;
}

/** A verify's report, and what a repair needs beside it. */
export interface Verification extends Pick<Located, "needs"> {
  report: VerifyReport;
}

/** What of a project is verified, and how. */
export interface Verifying extends Pick<VerifyOptions, "sample" | "maxAgeDays" | "maxIds" | "onProgress"> {
  scope: ManifestScope;
  verified: VerifiedChunks;
}

/**
 * Verifies a project, one of its volumes or one point. Damage is in the report, only what stops the work is thrown, and
 * `not_found` where there is nothing of that name, nor was at the last gc.
 */
export async function verify(
  repository: Repository,
  options: VerifyOptions,
  context: Context,
): Promise<VerifyReport> {
  const { project: name, secrets } = options;
  const project = await openProject(repository, { name, secrets }, context)
    .catch((error) => throwAsGone(repository, { project: name, error }, context));
  const scope = await scopeOf(project, options, context);
  const verified = await VerifiedChunks.open(project, context);
  const { report } = await verifyProject(project, { ...options, scope, verified }, context);
  const isNothing = report.points.length === 0 && report.findings.length === 0;
  if (scope.volume !== undefined && isNothing) throw await noBackups(project, scope.volume, context);
  return report;
}

/** The same for a project that is open. */
export async function verifyProject(
  project: Project,
  options: Verifying,
  context: Context,
): Promise<Verification> {
  const startedMs = context.clock.now();
  const { scope, verified, sample } = options;
  const workshop = new ChunkResources({ chunkBytes: project.chunkBytes, from: "store" }, context);
  const marked = await QuarantinedObjects.read(project, context);
  const verifier = new Verifier({ project, workshop, marked, options }, context);
  try {
    await verifier.run();
  } finally {
    await workshop.close();
    if (verifier.chunksRead > 0) await verified.save(); // also of a run that was interrupted
  }
  const unmarked = await releaseQuarantined(project, verifier.lifted, context);
  const { findings: found, seen } = verifier;
  const isReadBack = sample.kind === "all";
  const { findings, points, needs } = await locateFindings(
    project,
    { findings: found, scope, seen, isReadBack },
    context,
  );
  const report: VerifyReport = {
    project: project.name,
    chunks: verifier.chunks,
    chunks_read: verifier.chunksRead,
    chunks_fresh: verifier.chunksFresh,
    downloaded_bytes: verifier.downloadedBytes,
    marked: marked.size - unmarked,
    unmarked,
    points,
    findings,
    duration_s: (context.clock.now() - startedMs) / 1000,
  };
  return { report, needs };
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
  /** By the names of their manifests: the points that every walk has seen. */
  seen: ReadonlyMap<string, SeenPoint> = new Map();
  /** Marked objects that were read whole. */
  readonly lifted: ObjectRef[] = [];
  readonly #project: Project;
  readonly #workshop: ChunkResources;
  readonly #marked: QuarantinedObjects;
  /** Names of marked objects that points refer to as chunks. */
  readonly #markedChunks = new Set<string>();
  /** About how many chunks all rounds until now had to read back. */
  #chosen = 0;
  /** The last round has begun. */
  #isLast = false;
  readonly #options: Verifying;
  readonly #context: Context;

  constructor(
    parts: { project: Project; workshop: ChunkResources; marked: QuarantinedObjects; options: Verifying },
    context: Context,
  ) {
    this.#project = parts.project;
    this.#workshop = parts.workshop;
    this.#marked = parts.marked;
    this.#options = parts.options;
    this.#context = context;
  }

  /** One walk for as many ids as fit in memory. */
  async run(): Promise<void> {
    const { maxIds = MAX_IDS, scope } = this.#options;
    const onDamage = (error: UnreadableError) => this.#find(error);
    let points: ReadonlySet<string> = new Set();
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
      points = references.points;
      from = references.to;
    }
    if (scope.volume === undefined) await this.#findLost(points);
    if (scope.backup === undefined) await this.#findMissed(points);
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
    const window = new TaskLimiter(SHARDS_AT_ONCE);
    try {
      for (let shard = references.from; shard < references.to; shard++) {
        await window.add(async () => {
          const { chunkBytes } = this.#project;
          for await (
            const { name, sizeBytes } of this.#project.list(chunkShardPrefix(shard), this.#context)
          ) {
            const ref = isPossibleChunkSize(sizeBytes, chunkBytes) ? parseChunkName(name) : undefined;
            if (ref !== undefined) references.mark(ref);
          }
        });
      }
      await window.drain();
    } finally {
      await window.settle();
    }
  }

  /** That a listing lacks an object is one look: it is asked for before it is called missing. */
  async #confirmAbsent(references: ReferenceSet): Promise<void> {
    const window = new TaskLimiter(QUESTIONS_AT_ONCE);
    try {
      for (const ref of references.refs(false)) await window.add(() => this.#confirm(ref, references));
      await window.drain();
    } finally {
      await window.settle();
    }
  }

  async #confirm(ref: ObjectRef, references: ReferenceSet): Promise<void> {
    const { chunkBytes, store } = this.#project;
    const key = this.#project.key(chunkName(ref));
    try {
      const info = await store.head(key, { signal: this.#context.signal });
      if (info === undefined) throw new MissingError(key, `Cannot read "${key}": no such object`);
      if (!isPossibleChunkSize(info.sizeBytes, chunkBytes)) {
        throw new DamageError(key, `Cannot read "${key}": its size of ${info.sizeBytes} bytes is impossible`);
      }
      references.mark(ref);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      if (this.#marked.has(ref)) this.#markedChunks.add(chunkName(ref));
      this.#find(error);
    }
  }

  /** What is marked is read whatever the sample: that it is there says nothing. */
  async #readBack(references: ReferenceSet): Promise<void> {
    const { sample } = this.#options;
    if (sample.kind === "none" && this.#marked.none) return;
    this.#chosen += Math.round(references.size * shareOf(sample));
    this.#isLast = references.to === ALL_IDS.to;
    const window = new TaskLimiter(this.#workshop.window);
    try {
      for (const ref of references.refs(true)) {
        const isMarked = this.#marked.has(ref);
        if (isMarked) this.#markedChunks.add(chunkName(ref));
        else if (!isChosen(ref, sample)) continue;
        if (!isMarked && this.#isFresh(ref)) this.chunksFresh++;
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
    return maxAgeDays !== undefined && lease === undefined &&
      this.#options.verified.isFresh(id, maxAgeDays);
  }

  /** Of what is marked: pages, and objects that no point needs by now. */
  async #readMarked(): Promise<void> {
    const rest = [...this.#marked.refs()].filter((ref) => {
      const name = chunkName(ref);
      return !this.#markedChunks.has(name) && !this.findings.has(this.#project.key(name));
    });
    if (this.#options.sample.kind !== "all" && rest.length > MAX_MARKED_READ) return;
    for (const ref of rest) {
      const options = { ref, workshop: this.#workshop };
      const isOver = await isWhole(this.#project, options, this.#context) || await this.#isCollected(ref);
      if (isOver) this.lifted.push(ref);
    }
  }

  /** What no point needs and a gc has deleted. Where something could not be read, it may be needed by that. */
  async #isCollected(ref: ObjectRef): Promise<boolean> {
    const { volume, backup } = this.#options.scope;
    if (volume !== undefined || backup !== undefined || this.findings.size > 0) return false;
    const name = chunkName(ref);
    const { store } = this.#project;
    if (await store.head(this.#project.key(name), { signal: this.#context.signal }) !== undefined) {
      return false;
    }
    for await (const found of this.#project.list(name, this.#context)) if (found.name === name) return false;
    return true;
  }

  async #read(ref: ObjectRef): Promise<void> {
    this.#context.signal.throwIfAborted();
    const buffer = await this.#workshop.chunks.acquire();
    try {
      await assertObject(buffer, ref, {
        project: this.#project,
        workshop: this.#workshop,
        signal: this.#context.signal,
        onDownload: (bytes) => this.downloadedBytes += bytes,
      });
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

  /** Points that the last gc saw, which are gone though nobody forgot them. */
  async #findLost(points: ReadonlySet<string>): Promise<void> {
    const head = newestHead(await listPlans(this.#project, this.#context), Infinity);
    for (const name of await lostPoints(this.#project, { points, head }, this.#context)) {
      // A gc that looked after this verify began has seen points that were not there then.
      if (await this.#project.has(name, this.#context)) continue;
      const key = this.#project.key(name);
      const state = "it is missing, although the last gc saw it and no forget deleted it";
      if (!this.findings.has(key)) this.#find(new MissingError(key, `Cannot read "${key}": ${state}`));
    }
  }

  /** Points that this host has seen, which are gone though nobody forgot them. */
  async #findMissed(names: ReadonlySet<string>): Promise<void> {
    const points = [...names].flatMap((name) => {
      const place = parseManifestName(name);
      return place === undefined ? [] : [{ ...place, isReadable: true }];
    });
    const { volume } = this.#options.scope;
    for (const missed of await findMissed(this.#project, { volume, points }, this.#context)) {
      const key = this.#project.key(manifestName(missed.volume, missed.backup));
      const state = "it is missing, although this host has seen it and no forget deleted it";
      if (!this.findings.has(key)) this.#find(new MissingError(key, `Cannot read "${key}": ${state}`));
    }
  }

  #find(error: UnreadableError): void {
    this.findings.set(error.key, findingOf(error));
  }
}

/** Of the chunks that are there, how many the sample takes; it may be others than it takes in the end. */
function shareOf(sample: Sample): number {
  if (sample.kind === "part") return 1 / sample.parts;
  return sample.kind === "share" ? sample.share : sample.kind === "all" ? 1 : 0;
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
