/**
 * What must be true, looked at with each change of the store, by its objects alone: every chunk and page of every manifest
 * is there, opens, and is what the volume held; a backup that was reported done is there until it is forgotten.
 */
import { openContent, openFront } from "../../src/codec/seal.ts";
import { deriveKeys, type ProjectKeys, readHolders } from "../../src/codec/keys.ts";
import { decodeCheckedJson } from "../../src/format/checked_json.ts";
import { equalBytes, fromHex, toHex } from "../../src/util/bytes.ts";
import { type ChunkLocation, EntryList } from "../../src/format/entries.ts";
import {
  chunkName,
  holdName,
  KEYS_PREFIX,
  type ObjectRef,
  parseManifestName,
  projectPrefix,
} from "../../src/format/layout.ts";
import { leavesBytes, SECRET_BYTES } from "../../src/format/limits.ts";
import { decodeInfo, type ManifestInfo } from "../../src/format/manifest.ts";
import { decodeHeader, OBJECT_TYPE, type ObjectType } from "../../src/format/object.ts";
import { snapshotFromJson, snapshotText } from "../../src/format/snapshot_name.ts";
import { runTask } from "../../src/volume/pool/tasks.ts";
import { CHUNK_BYTES, chunkIds } from "./content.ts";
import type { Objects, StoredObject, Watcher } from "./objects.ts";

export const PROJECT = "acme";
const PREFIX = projectPrefix(PROJECT);

/** A run has shown that something is wrong. */
export class Violation extends Error {}

/** A backup as its manifest in the store says. */
export interface Point {
  key: string;
  volume: string;
  backup: string;
  snapshot: string;
  sealedBy: ProjectKeys;
  /** Keys of its pages and chunks. */
  refs: Set<string>;
}

export class Oracle implements Watcher {
  /** What each snapshot holds: every backup is of another snapshot. */
  readonly contents: Map<string, string>;
  /** What stands in the store, by key. */
  readonly points = new Map<string, Point>();
  readonly #objects: Objects;
  /** By id in hex: those that are in the store, and the ids of those that were deleted: their writing may arrive late. */
  readonly #keys = new Map<string, ProjectKeys>();
  readonly #erasedKeys = new Set<string>();
  /** Manifests in the store that are sealed under a key that is gone. */
  readonly #unreadable = new Set<string>();
  /** Erasures that have begun and not come to their end. */
  #unfinished = 0;
  readonly #first: Oracle | undefined;
  /** Keys of manifests of backups that were reported done. */
  readonly #reported = new Set<string>();
  /** How many forget it, or have forgotten it. */
  readonly #forgotten = new Map<string, number>();
  readonly #held = new Set<string>();
  /**
   * Where the store errs: points that are not whole, of which no backup has said that they are there. Their backup has yet
   * to look whether its lease is, or has died.
   */
  readonly #broken = new Set<string>();
  /** Points that were lost when the store was put back. */
  readonly #undone = new Set<string>();
  isLenient = false;
  readonly #opened = new WeakSet<Uint8Array>();
  readonly #pages = new WeakMap<Uint8Array, EntryList>();
  isErasing = false;
  /** What was found wrong; the first counts. */
  violation: Violation | undefined;

  /** `first`: of the repository that this one is a copy of; it hears of all that is wrong. */
  constructor(objects: Objects, first?: Oracle) {
    this.#objects = objects;
    this.#first = first;
    this.contents = first?.contents ?? new Map();
  }

  onPut(key: string, object: StoredObject): void {
    const name = key.slice(PREFIX.length);
    if (name.startsWith(KEYS_PREFIX)) this.#guard(() => this.#keyAppears(key, object.bytes));
    const place = parseManifestName(name);
    if (place !== undefined) this.#guard(() => this.#manifestAppears(key, place, object.bytes));
  }

  onDelete(key: string): void {
    const name = key.slice(PREFIX.length);
    if (name.startsWith(KEYS_PREFIX)) this.#keyGoes(name.slice(KEYS_PREFIX.length));
    this.points.delete(key);
    this.#unreadable.delete(key);
    this.#broken.delete(key);
    for (const point of this.points.values()) {
      if (point.refs.has(key)) this.#loses(point, key);
    }
    if (this.#reported.has(key) && !this.isForgotten(key) && !this.isErasing) {
      this.fail(`${key} is gone though nobody forgot it`);
    }
    // Its own backup may withdraw it, before it was said to be there.
    if (this.#held.has(key) && this.#reported.has(key) && !this.isErasing) {
      this.fail(`${key} is gone though it is held`);
    }
    // Another attempt to write it may arrive late.
    if (this.isErasing) this.#reported.delete(key);
  }

  /** An erasure begins. It may delete everything, in any order, until the project is erased in quiet. */
  erases(): string[] {
    this.isErasing = true;
    this.#unfinished++;
    return [...this.#keys.keys()];
  }

  /** An erasure says that nothing is left: what the keys open that were there when it began cannot be read any more. */
  erased(keysBefore: readonly string[]): void {
    this.#unfinished--;
    for (const id of keysBefore) {
      if (!this.#erasedKeys.has(id)) this.fail(`the erasure is done, and the key ${id} was never deleted`);
    }
  }

  /** When erasures and all that met them are over. One that has crashed may have left anything but the key. */
  checkErased(): void {
    if (this.#unfinished > 0) return;
    for (const key of this.#reported) {
      if (this.#unreadable.has(key)) this.fail(`${key} was reported done, and its project's key is gone`);
    }
  }

  /** After an erasure in quiet: nothing is there. What is made from now on is another project. */
  checkEmpty(): void {
    const [key] = this.#objects.keys(PREFIX);
    if (key !== undefined) this.fail(`after an erasure there is still ${key}`);
    this.#reported.clear();
    this.#held.clear();
    this.isErasing = false;
  }

  /** A backup says that it is done. */
  reported(key: string): void {
    if (this.#undone.has(key)) return;
    this.#reported.add(key);
    if (this.#broken.has(key) && !this.isErasing) this.fail(`${key} was reported done and is not whole`);
    if (!this.points.has(key) && !this.isForgotten(key) && !this.isErasing) {
      this.fail(`${key} was reported done and is not there`);
    }
  }

  /** Somebody is about to delete the manifest. */
  forgets(key: string): void {
    this.#forgotten.set(key, (this.#forgotten.get(key) ?? 0) + 1);
  }

  /** One of them did not delete it after all. */
  keeps(key: string): void {
    this.#forgotten.set(key, this.#forgotten.get(key)! - 1);
  }

  /** A hold says that it is held. */
  holds(key: string): void {
    this.#held.add(key);
    if (!this.points.has(key) && !this.isErasing && !this.#broken.has(key)) {
      this.fail(`${key} is held and is not there`);
    }
  }

  isHeld(key: string): boolean {
    return this.#held.has(key);
  }

  /** Some point is not whole. */
  get isBroken(): boolean {
    return this.#broken.size > 0;
  }

  get broken(): string[] {
    return [...this.#broken];
  }

  /** The store is put back to an older copy: what was made since is lost, and nobody's fault. */
  forgetsLater(exists: (key: string) => boolean): void {
    for (const key of this.#reported) if (!exists(key)) this.#reported.delete(key);
    for (const key of this.#held) {
      const { volume, backup } = parseManifestName(key.slice(PREFIX.length))!;
      if (!exists(PREFIX + holdName(volume, backup))) this.#held.delete(key);
    }
    // Their backup may have seen to the end that they are there, and has yet to say so.
    for (const key of this.points.keys()) if (!exists(key)) this.#undone.add(key);
  }

  /** Its manifest is there, be it whole or not. */
  isStored(key: string): boolean {
    return this.points.has(key) || this.#broken.has(key);
  }

  isForgotten(key: string): boolean {
    return (this.#forgotten.get(key) ?? 0) > 0;
  }

  get hasProject(): boolean {
    return this.#objects.page(`${PREFIX}keys/`, { after: "", limit: 1 }).length > 0;
  }

  fail(text: string): void {
    if (this.#first !== undefined) this.#first.fail(`in the second repository: ${text}`);
    else this.violation ??= new Violation(text);
  }

  /** Everything that was reported, and nobody forgot, is there and whole. */
  checkReported(): void {
    for (const key of this.#reported) {
      if (!this.points.has(key) && !this.isForgotten(key)) {
        this.fail(`${key} was reported done and is not there`);
      }
    }
  }

  /** When all is quiet: nothing is there but what manifests refer to. */
  checkQuiet(): void {
    const needed = new Set([...this.points.values()].flatMap(({ refs }) => [...refs]));
    const left = this.#objects.keys(`${PREFIX}chunks/`).filter((key) => !needed.has(key));
    if (left.length > 0) this.fail(`after quiet gc runs there is still ${left.join(" ")}`);
    // The last gc remembers which points there are, and nothing else.
    const allowed = /\/gc\/\w+\/(head|end)$/;
    for (const folder of ["leases/", "gc/", "forgotten/"]) {
      const key = this.#objects.keys(PREFIX + folder).find((key) => !allowed.test(key));
      if (key !== undefined) this.fail(`after quiet gc runs there is still ${key}`);
    }
    this.checkReported();
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(error instanceof Error ? error.message : String(error));
    }
  }

  #keyAppears(key: string, bytes: Uint8Array): void {
    const id = key.slice(PREFIX.length + KEYS_PREFIX.length);
    const [holder] = readHolders(decodeCheckedJson(bytes, key).holders)!;
    if (holder?.kind !== "none") throw new Violation(`${key} is wrapped otherwise than it was to be`);
    this.#keys.set(id, deriveKeys(fromHex(holder.secret, SECRET_BYTES)!, PROJECT));
  }

  /** What is sealed under it cannot be read any more. */
  #keyGoes(id: string): void {
    this.#keys.delete(id);
    this.#erasedKeys.add(id);
    for (const [key, point] of this.points) {
      if (toHex(point.sealedBy.id) !== id) continue;
      this.points.delete(key);
      this.#unreadable.add(key);
    }
  }

  #loses(point: Point, key: string): void {
    if (this.isErasing) this.points.delete(point.key);
    else if (this.isLenient && (!this.#reported.has(point.key) || this.isForgotten(point.key))) {
      this.points.delete(point.key);
      this.#broken.add(point.key);
    } else this.fail(`${point.key} (${point.snapshot}) has lost ${key}`);
  }

  #manifestAppears(key: string, place: { volume: string; backup: string }, bytes: Uint8Array): void {
    const name = key.slice(PREFIX.length);
    const object = { type: OBJECT_TYPE.manifest, name, key };
    const keyId = toHex(decodeHeader(bytes, object).keyId);
    const sealedBy = this.#keys.get(keyId);
    if (sealedBy === undefined) {
      this.#unreadable.add(key);
      if (!this.isErasing) throw new Violation(`${key} is sealed under a key that is not there`);
      return;
    }
    const info = decodeInfo(openFront(bytes, object, sealedBy), {
      key,
      project: PROJECT,
      ...place,
      chunkBytes: CHUNK_BYTES,
    });
    const snapshot = snapshotText(snapshotFromJson(info.to_snapshot)!);
    const pages = EntryList.decode(openContent(bytes, object, sealedBy));
    const point = { key, ...place, snapshot, sealedBy, refs: new Set<string>() };
    try {
      this.#checkPages(info, pages, point);
    } catch (error) {
      // Its backup has yet to look whether its lease is there.
      if (this.isErasing && error instanceof Violation) return;
      if (
        this.isLenient && error instanceof Violation &&
        !(this.#reported.has(key) && !this.isForgotten(key))
      ) {
        this.#broken.add(key);
        return;
      }
      throw error;
    }
    this.points.set(key, point);
    this.#broken.delete(key);
  }

  /** Notes what the manifest refers to. Throws where something is not there, or not what the snapshot held. */
  #checkPages(info: ManifestInfo, pages: EntryList, point: Point): void {
    const { snapshot, sealedBy } = point;
    const wanted = chunkIds(this.contents.get(snapshot)!, sealedBy);
    if (info.size_bytes > wanted.length * CHUNK_BYTES) throw new Violation(`${snapshot} has the wrong size`);
    const page = pages.get(0)?.object;
    const entries = page === undefined ? undefined : this.#page(page, point);
    for (const [position, id] of wanted.entries()) {
      const entry = entries?.get(position);
      if ((entry && toHex(entry.id)) !== id) {
        throw new Violation(`${snapshot} is wrong at position ${position}`);
      }
      if (entry !== undefined) this.#checkChunk(entry, point);
    }
  }

  #page(ref: ObjectRef, { refs, sealedBy }: Point): EntryList {
    const bytes = this.#object(ref, refs);
    const known = this.#pages.get(bytes);
    if (known !== undefined) return known;
    const entries = EntryList.decode(openContent(bytes, named(OBJECT_TYPE.page, ref), sealedBy));
    this.#pages.set(bytes, entries);
    return entries;
  }

  #checkChunk({ id, object, base }: ChunkLocation, { refs, sealedBy }: Point): void {
    const whole = this.#object(base ?? object, refs);
    const patch = base === undefined ? undefined : this.#object(object, refs);
    if (this.#opened.has(patch ?? whole)) return;
    const chunk = shared(CHUNK_BYTES);
    const leaves = shared(leavesBytes(CHUNK_BYTES));
    const parts = { chunk, leaves, keys: sealedBy };
    const opened = runTask({ op: "open", ...parts, ...sealed(whole, OBJECT_TYPE.chunk, base ?? object) });
    if (!has(opened, "length")) throw new Violation(`${chunkName(base ?? object)} does not open`);
    if (patch !== undefined) {
      const task = { op: "apply", ...parts, ...sealed(patch, OBJECT_TYPE.patch, object) } as const;
      const applied = runTask({ ...task, wanted: undefined });
      if (!has(applied, "chunkId") || !equalBytes(applied.chunkId, id)) {
        throw new Violation(`${chunkName(object)} does not make its chunk`);
      }
    }
    this.#opened.add(patch ?? whole);
  }

  #object(ref: ObjectRef, refs: Set<string>): Uint8Array {
    const key = PREFIX + chunkName(ref);
    const object = this.#objects.get(key);
    if (object === undefined) {
      throw new Violation(`a manifest appears that refers to ${key}, which is not there`);
    }
    refs.add(key);
    return object.bytes;
  }
}

function shared(length: number): Uint8Array<SharedArrayBuffer> {
  return new Uint8Array(new SharedArrayBuffer(length));
}

function sealed(bytes: Uint8Array, type: ObjectType, ref: ObjectRef) {
  const copy = shared(CHUNK_BYTES + leavesBytes(CHUNK_BYTES) + 100);
  copy.set(bytes);
  const { name, key } = named(type, ref);
  return { sealed: copy, sealedLength: bytes.length, id: ref.id, name, key };
}

function has<K extends string>(result: unknown, field: K): result is Record<K, Uint8Array> {
  return typeof result === "object" && result !== null && !(result instanceof Uint8Array) && field in result;
}

function named(type: ObjectType, ref: ObjectRef) {
  const name = chunkName(ref);
  return { type, name, key: PREFIX + name };
}
