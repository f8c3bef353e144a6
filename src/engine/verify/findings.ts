/** What a verify found, which restore points it concerns, and where in them. */
import type { ProjectKeys } from "../../codec/keys.ts";
import {
  describeError,
  isUnreadable,
  MissingError,
  UnavailableError,
  type UnreadableError,
} from "../../errors.ts";
import { toHex } from "../../util/bytes.ts";
import type { FindingKind } from "../../project/sharing/quarantine.ts";
import { type ChunkLocation, type EntryList, refsOf } from "../../format/entries.ts";
import {
  chunkName,
  type ObjectRef,
  parseChunkName,
  parseManifestName,
  VOLUMES_PREFIX,
} from "../../format/layout.ts";
import { PAGE_CHUNKS } from "../../format/limits.ts";
import type { OpenManifest } from "../../project/manifests.ts";
import type { Context } from "../../context.ts";
import { IdSet } from "../../volume/id_set.ts";
import { downloadPage } from "../../volume/page_table.ts";
import type { Project } from "../../project/project.ts";
import { manifests, type ManifestScope } from "../../volume/references.ts";
import { mapOrdered } from "../../util/task_limiter.ts";
import type { ByteRange } from "../../util/byte_ranges.ts";
import { PointDamage, pointOf, type PointReport, type SeenPoint } from "./points.ts";

/** Positions that are told of one finding in one point; more are only counted. */
const MAX_POSITIONS = 100;
/** Pages read at once. */
const READS_AT_ONCE = 16;
/** Pages with damage that are kept while points follow each other which share them, 50 KiB each. */
const MAX_PAGES = 64;

export interface Finding {
  kind: FindingKind;
  /** Of the object in the store. */
  key: string;
  reason: string;
  /** Of a block patch: the id of the chunk that it makes, and the key of the whole chunk that it is over. */
  patch?: { chunk: string; base: string } | undefined;
  /** The restore points that need it. */
  places: FindingPlace[];
}

interface FindingPlace {
  volume: string;
  backup: string;
  /** How many chunks of the volume it concerns; all of them for a manifest. */
  chunks: number;
  /** The first of them, as positions of the volume in chunks. */
  positions: number[];
}

/** Where a page that cannot be read lies. */
export interface PagePlace {
  volume: string;
  backup: string;
  page: number;
  sizeBytes: number;
}

/** What is known of an object that has to be made again. */
export interface Need {
  /** What its project key is, by the manifest that needs it. */
  keys: ProjectKeys;
  ref: ObjectRef;
  /** Of a page: some of the places where it lies. */
  pages: PagePlace[];
  /** Of a patch: the chunk that it makes, and what it is over. */
  patch: { chunkId: Uint8Array; base: ObjectRef } | undefined;
}

export interface Located {
  /** Ascending by key. Those that concern nothing are left out: what needed them was forgotten meanwhile. */
  findings: Finding[];
  points: PointReport[];
  /** By key, of chunks, patches and pages. */
  needs: ReadonlyMap<string, Need>;
}

export function findingOf(error: UnreadableError): Finding {
  const kind = error instanceof MissingError
    ? "missing"
    : error instanceof UnavailableError
    ? "unavailable"
    : "damaged";
  return { kind, key: error.key, reason: describeError(error), places: [] };
}

interface LocateOptions {
  /** By key. */
  findings: ReadonlyMap<string, Finding>;
  scope: ManifestScope;
  /** The points whose references were verified, by the names of their manifests. */
  seen: ReadonlyMap<string, SeenPoint>;
  /** All that was found there was read back, too. */
  isReadBack: boolean;
}

/** Says of each finding what it concerns, and of each point whether it is whole. Without findings no object is read. */
export async function locateFindings(
  project: Project,
  options: LocateOptions,
  context: Context,
): Promise<Located> {
  const { findings, scope, seen, isReadBack } = options;
  const state = isReadBack ? "whole" : "there";
  if (findings.size === 0) {
    return {
      findings: [],
      points: [...seen.values()].map((point) => pointOf(point, state)),
      needs: new Map(),
    };
  }
  const locator = new Locator(project, findings, context);
  const points: PointReport[] = [];
  for await (const manifest of manifests(project, { scope, onDamage: locator.onDamage }, context)) {
    const damage = await locator.locate(manifest);
    const { volume, backup } = manifest.info;
    const point = seen.get(manifestKey(volume, backup));
    // One that came since was not verified.
    if (point !== undefined || damage.chunks > 0) points.push(pointOf(damage.point, state, damage));
  }
  for (const finding of locator.findings.values()) {
    const place = locateManifest(project, finding);
    if (place !== undefined) points.push({ ...UNREADABLE, ...place });
  }
  const isOfPoint = ({ key }: Finding) => {
    const name = project.nameOf(key);
    return parseChunkName(name) !== undefined || parseManifestName(name) !== undefined;
  };
  const needed = [...locator.findings.values()].filter((finding) =>
    finding.places.length > 0 || !isOfPoint(finding)
  );
  return {
    findings: needed.sort((a, b) => a.key < b.key ? -1 : 1),
    points: points.sort(byPlace),
    needs: locator.needs,
  };
}

const UNREADABLE = {
  time: null,
  state: "unreadable",
  size_bytes: null,
  chunks: null,
  damaged_chunks: null,
  damaged_bytes: null,
  ranges: [] as ByteRange[],
} as const;

function manifestKey(volume: string, backup: string): string {
  return `${VOLUMES_PREFIX}${volume}/${backup}`;
}

function byPlace(a: PointReport, b: PointReport): number {
  if (a.volume !== b.volume) return a.volume < b.volume ? -1 : 1;
  return a.backup < b.backup ? -1 : 1;
}

/** A manifest that cannot be read concerns the whole point. */
function locateManifest(project: Project, finding: Finding) {
  const place = parseManifestName(project.nameOf(finding.key));
  if (place !== undefined) finding.places.push({ ...place, chunks: 0, positions: [] });
  return place;
}

class Locator {
  /** By key. A page that can no longer be read joins them. */
  readonly findings: Map<string, Finding>;
  readonly needs = new Map<string, Need>();
  readonly #project: Project;
  readonly #context: Context;
  /** Ids of what was found: a look at them tells most entries apart before any name is made. */
  readonly #suspects = new IdSet();
  /** Pages without any finding: points that share them need not read them again. */
  readonly #clean = new IdSet();
  readonly #pages = new Map<string, Promise<EntryList | undefined>>();

  constructor(project: Project, findings: ReadonlyMap<string, Finding>, context: Context) {
    this.#project = project;
    this.#context = context;
    this.findings = new Map(findings);
    for (const { key } of findings.values()) {
      const ref = parseChunkName(project.nameOf(key));
      if (ref !== undefined) this.#suspects.add(ref.id);
    }
  }

  readonly onDamage = (error: UnreadableError): void => {
    if (!this.findings.has(error.key)) this.findings.set(error.key, findingOf(error));
  };

  async locate(manifest: OpenManifest): Promise<PointDamage> {
    const damage = new PointDamage(manifest.info);
    const { pages } = manifest;
    const read = async ([page, { object: ref }]: [number, ChunkLocation]) => ({
      at: { manifest, page, ref, damage },
      entries: await this.#read(ref),
    });
    for await (const { at, entries } of mapOrdered(pages.locations(), read, { limit: READS_AT_ONCE })) {
      if (entries === "clean") continue;
      if (entries === undefined) this.#locatePage(at);
      else this.#locateEntries(at, entries);
    }
    return damage;
  }

  /** `undefined` where the page itself cannot be read. */
  async #read(ref: ObjectRef): Promise<EntryList | "clean" | undefined> {
    if (ref.lease === undefined && this.#clean.has(ref.id)) return "clean";
    const name = chunkName(ref);
    const pages = this.#pages;
    const page = pages.get(name) ?? this.#download(ref);
    pages.delete(name);
    pages.set(name, page);
    if (pages.size > MAX_PAGES) pages.delete(pages.keys().next().value!);
    return await page;
  }

  async #download(ref: ObjectRef): Promise<EntryList | undefined> {
    if (this.findings.has(this.#project.objectKey(chunkName(ref)))) return undefined;
    const options = { project: this.#project, signal: this.#context.signal };
    return (await downloadPage(ref, options).catch((error) => {
      if (!isUnreadable(error)) throw error;
      this.onDamage(error);
      return undefined;
    }))?.entries;
  }

  #locatePage({ manifest, page, ref, damage }: PageAt): void {
    const { info, keys } = manifest;
    const first = page * PAGE_CHUNKS;
    const count = Math.min(PAGE_CHUNKS, damage.point.chunks - first);
    const finding = this.findings.get(this.#project.objectKey(chunkName(ref)));
    if (finding === undefined) return; // its reading was of another page of that name, which cannot be
    addPlace(finding, { manifest, position: first, chunks: count });
    damage.add(first, count);
    const need = this.#need(finding.key, { keys, ref, patch: undefined });
    const { volume, backup, size_bytes: sizeBytes } = info;
    if (need.pages.length < MAX_POSITIONS) need.pages.push({ volume, backup, page, sizeBytes });
  }

  #locateEntries({ manifest, page, ref, damage }: PageAt, entries: EntryList): void {
    const first = page * PAGE_CHUNKS;
    const count = Math.min(PAGE_CHUNKS, damage.point.chunks - first);
    let isClean = true;
    for (let i = 0; i < count; i++) {
      const entry = entries.get(i);
      if (entry === undefined || !this.#locateEntry(entry, { manifest, position: first + i })) continue;
      isClean = false;
      damage.add(first + i, 1);
    }
    // Behind the end of one volume another may go on.
    if (isClean && count === PAGE_CHUNKS && ref.lease === undefined) this.#clean.add(ref.id);
  }

  /** Whether anything was found of the objects that the entry needs. */
  #locateEntry(entry: ChunkLocation, at: { manifest: OpenManifest; position: number }): boolean {
    let isFound = false;
    for (const object of refsOf(entry)) {
      if (!this.#suspects.has(object.id)) continue;
      const finding = this.findings.get(this.#project.objectKey(chunkName(object)));
      if (finding === undefined) continue;
      isFound = true;
      addPlace(finding, { ...at, chunks: 1 });
      const { base } = entry;
      const patch = object === entry.object && base !== undefined ? { chunkId: entry.id, base } : undefined;
      if (patch !== undefined) {
        finding.patch = { chunk: toHex(entry.id), base: this.#project.objectKey(chunkName(patch.base)) };
      }
      this.#need(finding.key, { keys: at.manifest.keys, ref: object, patch });
    }
    return isFound;
  }

  #need(key: string, about: Omit<Need, "pages">): Need {
    const known = this.needs.get(key);
    if (known !== undefined) return known;
    const need = { ...about, pages: [] };
    this.needs.set(key, need);
    return need;
  }
}

interface PageAt {
  manifest: OpenManifest;
  page: number;
  ref: ObjectRef;
  damage: PointDamage;
}

function addPlace(finding: Finding, at: { manifest: OpenManifest; position: number; chunks: number }): void {
  const { volume, backup } = at.manifest.info;
  // Points come one after the other.
  let place = finding.places.at(-1);
  if (place?.volume !== volume || place.backup !== backup) {
    finding.places.push(place = { volume, backup, chunks: 0, positions: [] });
  }
  place.chunks += at.chunks;
  if (place.positions.length < MAX_POSITIONS) place.positions.push(at.position);
}
