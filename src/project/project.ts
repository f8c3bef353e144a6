/**
 * A project opened with the operator's secret: its keys, and reading and writing of its objects by name.
 *
 * A project's key objects are never overwritten. Two hosts that make the same project at the same moment each leave a
 * key; both stay readable, later backups take the smallest, and a volume goes on under the key it began with. So no
 * race can leave a backup whose key is gone.
 */
import type { HolderKind, ProjectKeys } from "../codec/keys.ts";
import { openContent, openFront, sealObject } from "../codec/seal.ts";
import { cannotRead, unlessUnreadable, type UnreadableError, VarveError } from "../errors.ts";
import { concat, toHex } from "../util/bytes.ts";
import { isBackupId } from "../format/backup_id.ts";
import { CHUNKS_PREFIX, HOLDS_PREFIX, keyName, projectPrefix, VOLUMES_PREFIX } from "../format/layout.ts";
import { KIB } from "../format/limits.ts";
import { decodeHeader, HEADER_BYTES, maxObjectBytes, type ObjectType, objectType } from "../format/object.ts";
import { isKey } from "../store/key.ts";
import type {
  DeleteFailure,
  GetOptions,
  ListOptions,
  ObjectInfo,
  RequestOptions,
  Store,
} from "../store/store.ts";
import { readTwice } from "./read_twice.ts";
import type { Repository } from "./repository.ts";

/** How much of an object is read before its header says how much there is: a page, and nearly every manifest, as a whole. */
const FIRST_READ_BYTES = 256 * KIB + 1;

/** Reads the key of this id from the store; `undefined` where there is none. */
type KeyFinder = (id: string) => Promise<ProjectKeys | undefined>;

interface OpenKeys {
  /** By id in hex, ascending; at least one. */
  keys: ReadonlyMap<string, ProjectKeys>;
  /** What the first of them opens with. */
  encryption: HolderKind;
  /** By id in hex: why a key cannot be used. What it has sealed cannot be read either, and nothing else. */
  damaged: ReadonlyMap<string, UnreadableError>;
  /** For keys that another host made since. */
  findKey: KeyFinder;
}

export class Project {
  readonly name: string;
  readonly store: Store;
  readonly chunkBytes: number;
  readonly repositoryId: string;
  /** What it opens with: `none` is for anybody who can read the store. */
  readonly encryption: HolderKind;
  /** By id in hex, ascending; at least one. Behind them those that were found later. */
  readonly #keys: Map<string, ProjectKeys>;
  readonly #damagedKeys: ReadonlyMap<string, UnreadableError>;
  readonly #findKey: KeyFinder;

  constructor(repository: Repository, name: string, options: OpenKeys) {
    this.name = name;
    this.store = repository.store;
    this.chunkBytes = repository.chunkBytes;
    this.repositoryId = repository.id;
    this.#keys = new Map(options.keys);
    this.encryption = options.encryption;
    this.#damagedKeys = options.damaged;
    this.#findKey = options.findKey;
  }

  /** The key of a volume's first backup. */
  get firstKey(): ProjectKeys {
    return this.#keys.values().next().value!;
  }

  /** The key of this id in hex, if it is one of the project's. */
  knownKey(id: string): ProjectKeys | undefined {
    return this.#keys.get(id);
  }

  /** The same, also of a key object that was written since the project was opened; `undefined` where it cannot be used. */
  async findKey(id: string): Promise<ProjectKeys | undefined> {
    if (this.#damagedKeys.has(id)) return undefined;
    return this.#keys.get(id) ?? await this.#findKey(id).catch(unlessUnreadable);
  }

  /** Whether the project has a key object of this id that cannot be used. */
  hasDamagedKey(id: string): boolean {
    return this.#damagedKeys.has(id);
  }

  /** The store's key of the object `name`. */
  objectKey(name: string): string {
    return projectPrefix(this.name) + name;
  }

  /** The name of the object at a key of the store below this project. */
  nameOf(key: string): string {
    return key.slice(this.objectKey("").length);
  }

  /** The bytes of the object as the store has them. */
  async get(name: string, options: GetOptions): Promise<Uint8Array> {
    return await this.store.get(this.objectKey(name), options);
  }

  /** Stores bytes that are sealed already. */
  async put(name: string, bytes: Uint8Array, options: RequestOptions): Promise<void> {
    await this.store.put(this.objectKey(name), bytes, options);
  }

  /** What the store says of the object when it is asked once; `find` is the second look, too. */
  async head(name: string, options: RequestOptions): Promise<ObjectInfo | undefined> {
    return await this.store.head(this.objectKey(name), options);
  }

  /** Deletes the objects; those that remain. */
  async delete(names: readonly string[], options: RequestOptions): Promise<DeleteFailure[]> {
    return await this.store.delete(names.map((name) => this.objectKey(name)), options);
  }

  /** The project key that sealed these bytes. Throws `DamageError` where there is none, `wrong_secret`. */
  async keyOf(bytes: Uint8Array, object: { type: ObjectType; name: string }): Promise<ProjectKeys> {
    const key = this.objectKey(object.name);
    const id = toHex(decodeHeader(bytes, { type: object.type, key }).keyId);
    const cause = this.#damagedKeys.get(id);
    if (cause !== undefined) {
      throw cannotRead(key, `its key ${id} cannot be read`, cause);
    }
    const found = this.#keys.get(id) ?? await this.#findKey(id);
    if (found === undefined) {
      throw cannotRead(key, `it is encrypted with key ${id}, which is missing`);
    }
    this.#keys.set(id, found);
    return found;
  }

  /**
   * To be called by who will write restore points, once the lease is written: an erasure deletes the keys, then looks
   * for leases, so at least one of the two sees the other. Throws `conflict` where the key is gone.
   */
  async assertNotErased(options: RequestOptions): Promise<void> {
    const name = keyName(toHex(this.firstKey.id));
    if (await this.has(name, options)) return;
    throw new VarveError("conflict", `Cannot write to project "${this.name}": it has been erased`);
  }

  /** What the store says of the object: `undefined` only if neither a question nor a listing finds it. */
  async find(name: string, options: RequestOptions): Promise<ObjectInfo | undefined> {
    const info = await this.head(name, options);
    if (info !== undefined) return info;
    for await (const first of this.store.list(this.objectKey(name), options)) {
      return first.key === this.objectKey(name) ? first : undefined;
    }
    return undefined;
  }

  /** Whether the object is there, as `find` says. */
  async has(name: string, options: RequestOptions): Promise<boolean> {
    return await this.find(name, options) !== undefined;
  }

  /** Throws `DamageError` unless the bytes are a whole object of that name, of any type. */
  async check(bytes: Uint8Array, name: string): Promise<void> {
    const object = { type: objectType(bytes), name };
    openContent(bytes, { ...object, key: this.objectKey(name) }, await this.keyOf(bytes, object));
  }

  /** Content of a small sealed object, and the key that sealed it. What does not open is read twice. */
  async read(object: { type: ObjectType; name: string }, options: RequestOptions) {
    return await readTwice(() => this.readOnce(object, options));
  }

  /** The same for who reads twice himself, since he looks at more. */
  async readOnce(object: { type: ObjectType; name: string }, options: RequestOptions) {
    const bytes = await this.fetch(object, options);
    const keys = await this.keyOf(bytes, object);
    return {
      bytes,
      keys,
      content: openContent(bytes, { ...object, key: this.objectKey(object.name) }, keys),
    };
  }

  /**
   * An object as the store has it, of which no more is taken into memory than its header says, nor than one of its type
   * can have. Throws `DamageError`, `MissingError`.
   */
  async fetch(
    { type, name }: { type: ObjectType; name: string },
    options: RequestOptions,
  ): Promise<Uint8Array> {
    const key = this.objectKey(name);
    const most = maxObjectBytes(type);
    const length = Math.min(FIRST_READ_BYTES, most + 1);
    const bytes = await this.get(name, { ...options, range: { offset: 0, length } });
    if (bytes.length < length) return bytes;
    const header = decodeHeader(bytes, { type, key });
    const end = HEADER_BYTES + header.frontBytes + header.contentBytes;
    if (end > most) throw cannotRead(key, "its header claims an impossible size");
    if (end < length) throw cannotRead(key, "it is longer than its header says");
    // One more than it should have: of what follows nothing else has to be known.
    const range = { offset: length, length: end - length + 1 };
    const rest = await this.get(name, { ...options, range });
    return concat([bytes, rest]);
  }

  /** Front section of an object of which `bytes` may be only the beginning. */
  async front(bytes: Uint8Array, object: { type: ObjectType; name: string }): Promise<Uint8Array> {
    return openFront(bytes, { ...object, key: this.objectKey(object.name) }, await this.keyOf(bytes, object));
  }

  async write(
    object: { type: ObjectType; name: string; front?: Uint8Array; content: Uint8Array },
    options: RequestOptions & { keys: ProjectKeys },
  ): Promise<number> {
    const bytes = sealObject(object, options.keys);
    if (bytes.length > maxObjectBytes(object.type)) {
      const state = `it would be ${bytes.length} bytes, more than such an object may have`;
      throw new VarveError("failed", `Cannot write "${this.objectKey(object.name)}": ${state}`);
    }
    await this.put(object.name, bytes, options);
    return bytes.length;
  }

  /**
   * Names below `prefix`, ascending, with what the store says of each. What no store would take for a key is left out, such
   * as the empty objects ending in `/` with which browsers of S3 mark folders.
   */
  async *list(prefix: string, options: ListOptions): AsyncGenerator<ObjectInfo & { name: string }> {
    // They are millions, and whoever lists them looks at each name.
    const isChunks = prefix.startsWith(CHUNKS_PREFIX);
    let beneath: string | undefined;
    for await (const info of this.store.list(this.objectKey(prefix), options)) {
      if (!isChunks && (!isKey(info.key) || (beneath !== undefined && info.key.startsWith(beneath)))) {
        continue;
      }
      const name = this.nameOf(info.key);
      yield { ...info, name };
      if (isChunks || !mayHide(name)) continue;
      beneath = `${info.key}/`;
      yield* this.list(`${name}/`, { ...options, after: undefined });
    }
  }
}

/** Below these there are folders within folders. */
const HIDING = [VOLUMES_PREFIX, HOLDS_PREFIX];

/**
 * Whether an object stands where only folders should: MinIO tells nothing of what is beneath it unless it is asked for just
 * that.
 */
function mayHide(name: string): boolean {
  return HIDING.some((prefix) => name.startsWith(prefix)) &&
    !isBackupId(name.slice(name.lastIndexOf("/") + 1));
}
