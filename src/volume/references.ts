/**
 * What the manifests of a project refer to: one walk over all manifests and over each page once. In bounded memory: where
 * there are more ids than may be held, the set covers a part of the id space, and the caller walks again for the rest.
 */
import {
  DamageError,
  isUnreadable,
  MissingError,
  UnavailableError,
  type UnreadableError,
  VarveError,
} from "../errors.ts";
import { toHex } from "../util/bytes.ts";
import type { EntryList } from "../format/entries.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import { nameOf, type PointRef } from "../project/point_ref.ts";
import { type ListedPoint, listPointsOnce } from "../project/points.ts";
import type { Context } from "../context.ts";
import { isGone, type OpenManifest, readManifest } from "../project/manifests.ts";
import { IdSet } from "./id_set.ts";
import { noLocalPages, readPage } from "./page_table.ts";
import type { Project } from "../project/project.ts";
import { forEachLimited, mapOrdered } from "../util/task_limiter.ts";

/** Ids held at once: 72 MiB of table, and as much again while it grows; all work then fits into 512 MiB. */
export const MAX_IDS = 1_500_000;
/** Manifests and pages read at once. */
const READS_AT_ONCE = 16;

/** First bytes of ids, `from` up to, not including, `to`. */
interface IdRange {
  from: number;
  to: number;
}

export const ALL_IDS: IdRange = { from: 0, to: 256 };

/** The objects that manifests refer to, of the ids in `range`. */
export class ReferenceSet {
  readonly from: number;
  /** Names of the manifests that were read. */
  readonly points = new Set<string>();
  /** The ids that these pass over, of those that do. */
  readonly passedOver = new Map<string, readonly string[]>();
  #to: number;
  readonly #maxIds: number;
  readonly #plain = new IdSet();
  /** Of keys with a suffix, by name, and whether marked: they are few. */
  readonly #suffixed = new Map<string, { ref: ObjectRef; marked: boolean }>();

  constructor({ from, to }: IdRange, maxIds: number) {
    this.from = from;
    this.#to = to;
    this.#maxIds = maxIds;
  }

  /** One past the last first byte that is covered: it shrinks while the set fills. */
  get to(): number {
    return this.#to;
  }

  /** The first bytes of ids that are covered, once all references were added. */
  *firstBytes(): Generator<number> {
    for (let byte = this.from; byte < this.#to; byte++) yield byte;
  }

  covers(firstByte: number): boolean {
    return firstByte >= this.from && firstByte < this.#to;
  }

  get size(): number {
    return this.#plain.size + this.#suffixed.size;
  }

  add(ref: ObjectRef): void {
    if (!this.covers(ref.id[0]!)) return;
    if (ref.lease !== undefined) this.#suffixed.set(suffixed(ref), { ref, marked: false });
    else if (this.#plain.add(ref.id) && this.#plain.size > this.#maxIds) this.#shrink();
  }

  has(ref: ObjectRef): boolean {
    return ref.lease === undefined ? this.#plain.has(ref.id) : this.#suffixed.has(suffixed(ref));
  }

  /** Marks what is there. */
  mark(ref: ObjectRef): void {
    if (ref.lease === undefined) this.#plain.mark(ref.id);
    const found = ref.lease === undefined ? undefined : this.#suffixed.get(suffixed(ref));
    if (found !== undefined) found.marked = true;
  }

  /** The references with a mark or without. */
  *refs(marked: boolean): Generator<ObjectRef> {
    for (const id of this.#plain.ids(marked)) yield { id, lease: undefined };
    for (const found of this.#suffixed.values()) if (found.marked === marked) yield found.ref;
  }

  /** Walks follow each other, and two tables at once would be one too many. */
  [Symbol.dispose](): void {
    this.#plain[Symbol.dispose]();
    this.#suffixed.clear();
  }

  #shrink(): void {
    const middle = Math.floor((this.from + this.#to) / 2);
    if (middle === this.from) return; // one first byte is the least
    this.#to = middle;
    this.#plain.retain((byte) => byte < middle);
  }
}

/** Which pages were read. One that vanished with its manifest is read again should another manifest name it. */
class SeenPages {
  readonly #plain = new IdSet();
  readonly #suffixed = new Set<string>();
  readonly #vanished = new Set<string>();

  /** False where the page was seen before. */
  add(ref: ObjectRef): boolean {
    if (this.#vanished.delete(chunkName(ref))) return true;
    if (ref.lease === undefined) return this.#plain.add(ref.id);
    if (this.#suffixed.has(suffixed(ref))) return false;
    this.#suffixed.add(suffixed(ref));
    return true;
  }

  forget(ref: ObjectRef): void {
    this.#vanished.add(chunkName(ref));
  }
}

function suffixed({ id, lease }: ObjectRef): string {
  return `${toHex(id)}.${toHex(lease!)}`;
}

interface CollectOptions {
  range: IdRange;
  maxIds: number;
  /** Without the pages themselves. */
  chunksOnly?: boolean | undefined;
  scope?: ManifestScope | undefined;
  /** Told of each manifest whose references are collected. */
  onManifest?: ((manifest: OpenManifest) => void) | undefined;
  /** Told of manifests and pages that cannot be read; without it they are the end. */
  onDamage?: ((error: UnreadableError) => void) | undefined;
  /**
   * For whoever will delete what nothing refers to: the manifests are listed once more after they were read, and one that
   * is not there any more must be among those that a forget took. Their names.
   */
  forgotten?: (() => Promise<ReadonlySet<string>>) | undefined;
}

/**
 * The references of all manifests that are there from beginning to end of the walk. Throws `DamageError` where a manifest
 * or page cannot be read: what it refers to is not known then, and nothing may be deleted.
 */
export async function collectReferences(
  project: Project,
  options: CollectOptions,
  context: Context,
): Promise<ReferenceSet> {
  const references = new ReferenceSet(options.range, options.maxIds);
  const seen = new SeenPages();
  /** The pages that were not seen before. */
  async function* unseenPages(): AsyncGenerator<NamedPage> {
    for await (const manifest of manifests(project, options, context)) {
      options.onManifest?.(manifest);
      const { passed_over } = manifest.info;
      references.points.add(nameOf(manifest.info));
      if (passed_over !== undefined) references.passedOver.set(nameOf(manifest.info), passed_over);
      for (let number = 0; number < manifest.pages.length; number++) {
        const page = manifest.pages.get(number)?.object;
        if (page === undefined) continue;
        if (options.chunksOnly !== true) references.add(page);
        if (seen.add(page)) yield { manifest, number, page };
      }
    }
  }
  await forEachLimited(unseenPages(), READS_AT_ONCE, async (named) => {
    const entries = await readUnlessForgotten(project, named, context)
      .catch(telling(project, named.manifest.info, options));
    if (entries === undefined) seen.forget(named.page);
    else for (const chunk of entries.refs()) references.add(chunk);
  });
  return references;
}

/** A page, and the manifest that names it. */
interface NamedPage {
  manifest: OpenManifest;
  /** The page's number in the volume. */
  number: number;
  page: ObjectRef;
}

/** Which manifests: all of the project, of a volume, or one. */
export interface ManifestScope {
  volume?: string | undefined;
  backup?: string | undefined;
}

/**
 * The manifests in the scope; one that is forgotten meanwhile is left out. What cannot be read goes to `onDamage`, or is
 * thrown.
 */
export async function* manifests(
  project: Project,
  options: Pick<CollectOptions, "scope" | "onDamage" | "forgotten">,
  context: Context,
): AsyncGenerator<OpenManifest> {
  const { forgotten } = options;
  const read = (place: PointRef) =>
    readManifest(project, place, context).catch(async (error) => {
      if (!isUnreadable(error)) throw error;
      const isMissing = error instanceof MissingError;
      if (isMissing && await isGone(project, place, context)) {
        if (forgotten !== undefined) await assertForgotten([nameOf(place)], { project, forgotten });
        return undefined;
      }
      return await telling(project, place, options)(isMissing ? listedButMissing(error) : error);
    });
  const places = placesOf(project, options, context);
  for await (const manifest of mapOrdered(places, read, { limit: READS_AT_ONCE })) {
    if (manifest !== undefined) yield manifest;
  }
}

/**
 * A place that only a second listing tells is read, too: one listing may be short. To those who delete, one that it leaves
 * out must be forgotten.
 */
async function* placesOf(
  project: Project,
  { scope, forgotten }: Pick<CollectOptions, "scope" | "forgotten">,
  context: Context,
): AsyncGenerator<PointRef> {
  const seen = new Set<string>();
  for await (const point of listScope(project, scope, context)) {
    seen.add(point.name);
    yield point;
  }
  const left = new Set(seen);
  for await (const point of listScope(project, scope, context)) {
    left.delete(point.name);
    if (!seen.has(point.name)) yield point;
  }
  if (forgotten !== undefined) await assertForgotten(left, { project, forgotten });
}

async function* listScope(
  project: Project,
  { volume, backup }: ManifestScope = {},
  context: Context,
): AsyncGenerator<ListedPoint> {
  for await (const point of listPointsOnce(project, volume, context)) {
    if (backup === undefined || point.backup === backup) yield point;
  }
}

/** Throws where one of the names is not among those that a forget took: a listing was short, or a point was lost. */
async function assertForgotten(
  names: Iterable<string>,
  { project, forgotten }: { project: Project; forgotten: () => Promise<ReadonlySet<string>> },
): Promise<void> {
  const left = [...names];
  if (left.length === 0) return;
  const known = await forgotten();
  const [lost] = left.filter((name) => !known.has(name));
  if (lost === undefined) return;
  throw new VarveError(
    "failed",
    `Cannot collect "${project.name}": "${
      project.objectKey(lost)
    }" was listed but is missing, and no forget ` +
      `deleted it; nothing was deleted; retry, and run "varve verify ${project.name} --exists"`,
  );
}

function listedButMissing({ key, cause }: MissingError): UnavailableError {
  return new UnavailableError(
    key,
    `Cannot read "${key}": the store lists it but reports it as missing`,
    {
      cause,
    },
  );
}

/** The page's entries; `undefined` where its manifest was forgotten, and the page swept, meanwhile. */
async function readUnlessForgotten(
  project: Project,
  { manifest, number, page }: NamedPage,
  context: Context,
): Promise<EntryList | undefined> {
  const { keys, info } = manifest;
  try {
    return await readPage(number, page, { project, keys, local: noLocalPages, signal: context.signal });
  } catch (error) {
    if (!(error instanceof MissingError) || !await isGone(project, info, context)) throw error;
    return undefined;
  }
}

/**
 * What becomes of a manifest or page of the point that cannot be read. To whoever deletes it is the end, unless the point
 * was forgotten: then somebody has put its manifest back, and nothing has to be kept for it.
 */
function telling(
  project: Project,
  place: PointRef,
  { onDamage, forgotten }: Pick<CollectOptions, "onDamage" | "forgotten">,
) {
  return async (error: unknown): Promise<undefined> => {
    if (!isUnreadable(error)) throw error;
    if (onDamage !== undefined) return void onDamage(error);
    if ((await forgotten?.())?.has(nameOf(place))) return;
    const point = `${project.name}/${place.volume}@${place.backup}`;
    throw new DamageError(
      error.key,
      `Cannot collect "${project.name}": the objects of "${point}" are not all known, because it cannot be read as a whole; nothing was ` +
        `deleted; run "varve repair ${project.name}" or "varve forget ${point}"`,
      { cause: error },
    );
  };
}
