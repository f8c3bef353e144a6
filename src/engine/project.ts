/**
 * A project opened with the operator's secret: its keys, and reading and writing of its objects by name.
 *
 * A project's key objects are never overwritten. Two hosts that make the same project at the same moment each leave a
 * key; both stay readable, later backups take the smallest, and a volume goes on under the key it began with. So no
 * race can leave a backup whose key is gone.
 */
import {
  deriveKeys,
  type ProjectKey,
  readHolders,
  type Secret,
  unwrapSecret,
  type WrappedSecret,
  wrapSecret,
} from "../codec/keys.ts";
import { openContent, openFront, sealObject } from "../codec/seal.ts";
import {
  DamageError,
  describeError,
  isUnreadable,
  MissingError,
  type UnreadableError,
  VarveError,
} from "../errors.ts";
import { concat, equalBytes, fromHex, toHex } from "../format/bytes.ts";
import { isBackupId } from "../format/backup_id.ts";
import { CHECKED_JSON_RANGE, decodeCheckedJson, encodeCheckedJson } from "../format/checked_json.ts";
import {
  CHUNKS_PREFIX,
  HOLDS_PREFIX,
  keyName,
  KEYS_PREFIX,
  projectPrefix,
  PROJECTS_PREFIX,
  VOLUMES_PREFIX,
} from "../format/layout.ts";
import { KEY_ID_BYTES, KIB, SECRET_BYTES } from "../format/limits.ts";
import { checkProjectName, isProjectName, quote } from "../format/names.ts";
import { decodeHeader, HEADER_BYTES, maxObjectBytes, type ObjectType, objectType } from "../format/object.ts";
import { isKey } from "../store/key.ts";
import type { ListOptions, ObjectInfo, RequestOptions, Store } from "../store/store.ts";
import { type Context, tellProblem } from "./context.ts";
import { namesOf } from "./not_found.ts";
import { randomBytes } from "./random.ts";
import { readTwice } from "./read_twice.ts";
import type { Repository } from "./repository.ts";

export type { Secret } from "../codec/keys.ts";

/** How much of an object is read before its header says how much there is: a page, and nearly every manifest, as a whole. */
const FIRST_READ_BYTES = 256 * KIB + 1;

/** Reads the key of this id from the store; `undefined` where there is none. */
type KeyFinder = (id: string) => Promise<ProjectKey | undefined>;

interface ProjectKeys {
  /** By id in hex, ascending; at least one. */
  keys: ReadonlyMap<string, ProjectKey>;
  /** By id in hex: why a key cannot be read. What it has sealed cannot be read either, and nothing else. */
  damaged?: ReadonlyMap<string, UnreadableError>;
  /** For keys that another host made since. */
  findKey: KeyFinder;
}

export class Project {
  readonly name: string;
  readonly store: Store;
  readonly chunkBytes: number;
  readonly repositoryId: string;
  /** By id in hex, ascending; at least one. Behind them those that were found later. */
  readonly #keys: Map<string, ProjectKey>;
  readonly #damagedKeys: ReadonlyMap<string, UnreadableError>;
  readonly #findKey: KeyFinder;

  constructor(repository: Repository, name: string, options: ProjectKeys) {
    this.name = name;
    this.store = repository.store;
    this.chunkBytes = repository.chunkBytes;
    this.repositoryId = repository.id;
    this.#keys = new Map(options.keys);
    this.#damagedKeys = options.damaged ?? new Map();
    this.#findKey = options.findKey;
  }

  /** The key of a volume's first backup. */
  get firstKey(): ProjectKey {
    return this.#keys.values().next().value!;
  }

  /** The key of this id in hex, if it is one of the project's. */
  knownKey(id: string): ProjectKey | undefined {
    return this.#keys.get(id);
  }

  /** The store's key of the object `name`. */
  key(name: string): string {
    return projectPrefix(this.name) + name;
  }

  /** The project key that sealed these bytes. Throws `DamageError` where there is none, `wrong_secret`. */
  async keyOf(bytes: Uint8Array, object: { type: ObjectType; name: string }): Promise<ProjectKey> {
    const key = this.key(object.name);
    const id = toHex(decodeHeader(bytes, { type: object.type, key }).keyId);
    const cause = this.#damagedKeys.get(id);
    if (cause !== undefined) {
      throw new DamageError(key, `Cannot read "${key}": its key ${id} cannot be read`, { cause });
    }
    const found = this.#keys.get(id) ?? await this.#findKey(id);
    if (found === undefined) {
      throw new DamageError(key, `Cannot read "${key}": it is sealed with the key ${id}, which is not here`);
    }
    this.#keys.set(id, found);
    return found;
  }

  /**
   * To be called by who will write restore points, once the lease is written: an erasure deletes the keys, then looks
   * for leases, so at least one of the two sees the other. Throws `conflict` where the key is gone.
   */
  async checkNotErased(options: RequestOptions): Promise<void> {
    const name = keyName(toHex(this.firstKey.id));
    if (await this.has(name, options)) return;
    throw new VarveError("conflict", `Cannot write to project "${this.name}": it was erased meanwhile`);
  }

  /** What the store says of the object: `undefined` only if neither a question nor a listing finds it. */
  async look(name: string, options: RequestOptions): Promise<ObjectInfo | undefined> {
    const info = await this.store.head(this.key(name), options);
    if (info !== undefined) return info;
    for await (const first of this.store.list(this.key(name), options)) {
      return first.key === this.key(name) ? first : undefined;
    }
    return undefined;
  }

  /** Whether the object is there, as `look` says. */
  async has(name: string, options: RequestOptions): Promise<boolean> {
    return await this.look(name, options) !== undefined;
  }

  /** Throws `DamageError` unless the bytes are a whole object of that name, of any type. */
  async check(bytes: Uint8Array, name: string): Promise<void> {
    const object = { type: objectType(bytes), name };
    openContent(bytes, { ...object, key: this.key(name) }, await this.keyOf(bytes, object));
  }

  /** Content of a small sealed object, and the key that sealed it. What does not open is read twice. */
  async read(object: { type: ObjectType; name: string }, options: RequestOptions) {
    return await readTwice(() => this.readOnce(object, options));
  }

  /** The same for who reads twice himself, since he looks at more. */
  async readOnce(object: { type: ObjectType; name: string }, options: RequestOptions) {
    const bytes = await this.fetch(object, options);
    const key = await this.keyOf(bytes, object);
    return { bytes, key, content: openContent(bytes, { ...object, key: this.key(object.name) }, key) };
  }

  /**
   * An object as the store has it, of which no more is taken into memory than its header says, nor than one of its type
   * can have. Throws `DamageError`, `MissingError`.
   */
  async fetch(
    { type, name }: { type: ObjectType; name: string },
    options: RequestOptions,
  ): Promise<Uint8Array> {
    const key = this.key(name);
    const most = maxObjectBytes(type);
    const length = Math.min(FIRST_READ_BYTES, most + 1);
    const bytes = await this.store.get(key, { ...options, range: { offset: 0, length } });
    if (bytes.length < length) return bytes;
    const header = decodeHeader(bytes, { type, key });
    const end = HEADER_BYTES + header.frontBytes + header.contentBytes;
    if (end > most) {
      throw new DamageError(key, `Cannot read "${key}": it says to hold more than an object can`);
    }
    if (end < length) throw new DamageError(key, `Cannot read "${key}": it is longer than it says`);
    // One more than it should have: of what follows nothing else has to be known.
    const rest = await this.store.get(key, {
      ...options,
      range: { offset: length, length: end - length + 1 },
    });
    return concat([bytes, rest]);
  }

  /** Front section of an object of which `bytes` may be only the beginning. */
  async front(bytes: Uint8Array, object: { type: ObjectType; name: string }): Promise<Uint8Array> {
    return openFront(bytes, { ...object, key: this.key(object.name) }, await this.keyOf(bytes, object));
  }

  async write(
    object: { type: ObjectType; name: string; front?: Uint8Array; content: Uint8Array },
    options: RequestOptions & { key: ProjectKey },
  ): Promise<number> {
    const bytes = sealObject(object, options.key);
    if (bytes.length > maxObjectBytes(object.type)) {
      const state = `with ${bytes.length} bytes it is larger than such an object can be`;
      throw new VarveError("failed", `Cannot write "${this.key(object.name)}": ${state}`);
    }
    await this.store.put(this.key(object.name), bytes, options);
    return bytes.length;
  }

  /**
   * Names below `prefix`, ascending, with what the store says of each. What no store would take for a key is left out, such
   * as the empty objects ending in `/` with which browsers of S3 mark folders.
   */
  async *list(prefix: string, options: ListOptions): AsyncGenerator<ObjectInfo & { name: string }> {
    const skip = this.key("").length;
    // They are millions, and whoever lists them looks at each name.
    const isChunks = prefix.startsWith(CHUNKS_PREFIX);
    let beneath: string | undefined;
    for await (const info of this.store.list(this.key(prefix), options)) {
      if (!isChunks && (!isKey(info.key) || (beneath !== undefined && info.key.startsWith(beneath)))) {
        continue;
      }
      const name = info.key.slice(skip);
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

/**
 * The names of the projects that have a key. Others are none: what an interrupted erasure has left, or a folder that
 * MinIO goes on telling while there are delete markers in it. A folder that no project can be called like is said.
 */
export async function* listProjects(repository: Repository, context: Context): AsyncGenerator<string> {
  for await (const name of repository.store.folders(PROJECTS_PREFIX, { signal: context.signal })) {
    if (!isProjectName(name)) {
      context.log.warn(
        {},
        `the folder ${quote(PROJECTS_PREFIX + name)} is passed over: no project has such a name`,
      );
      continue;
    }
    if ((await listKeys(repository, name, context)).length > 0) yield name;
  }
}

/** The error of a name that no project has: `what`, where, and which projects there are. */
export async function noProject(repository: Repository, what: string, context: Context): Promise<VarveError> {
  const names = await Array.fromAsync(listProjects(repository, context));
  const there = names.length === 0 ? "there are none" : `there is ${namesOf(names)}`;
  return new VarveError("not_found", `${what} in "${repository.store.url}"; ${there}`);
}

/**
 * Opens a project; with `create` it is made where it is not there. A key that is damaged is told of, and the project is
 * opened by its others. Throws `wrong_secret` where the secret does not open it, `not_found` where there is no such project,
 * `DamageError` where none of its keys can be read.
 */
export async function openProject(
  repository: Repository,
  options: { name: string; secret: Secret; create: boolean },
  context: Context,
): Promise<Project> {
  checkProjectName(options.name);
  let stored = await listKeys(repository, options.name, context);
  if (stored.length === 0) stored = await listKeys(repository, options.name, context); // one look is no proof
  if (stored.length === 0 && options.create) {
    await createKey(repository, options, context);
    stored = await listKeys(repository, options.name, context);
  }
  if (stored.length === 0) {
    throw await noProject(
      repository,
      `Cannot open project "${options.name}": there is none of that name`,
      context,
    );
  }
  const found = await readKeys(repository, { ...options, stored }, context);
  const findKey = (id: string) => findKeyLater(repository, { ...options, id }, context);
  return new Project(repository, options.name, { ...found, findKey });
}

/** Makes a project with its key, wrapped for `secret`. Throws `conflict` where there is one of that name. */
export async function createProject(
  repository: Repository,
  options: { name: string; secret: Secret },
  context: Context,
): Promise<void> {
  checkProjectName(options.name);
  for (let look = 1; look <= 2; look++) { // one look is no proof
    if ((await listKeys(repository, options.name, context)).length === 0) continue;
    throw new VarveError("conflict", `Cannot make project "${options.name}": there is one already`);
  }
  await createKey(repository, options, context);
}

async function readKeys(
  repository: Repository,
  options: { name: string; secret: Secret; stored: readonly string[] },
  context: Context,
): Promise<Required<Pick<ProjectKeys, "keys" | "damaged">>> {
  const keys = new Map<string, ProjectKey>();
  const damaged = new Map<string, UnreadableError>();
  for (const key of options.stored) {
    try {
      keys.set(keyIdOf(key), await readKey(repository, { ...options, key }, context));
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      damaged.set(keyIdOf(key), error);
    }
  }
  const [first] = damaged.values();
  if (keys.size === 0) throw first!;
  for (const error of damaged.values()) tellProblem(keyProblem(options.name, error), context);
  return { keys, damaged };
}

function keyIdOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

function keyProblem(project: string, error: UnreadableError): DamageError {
  return new DamageError(
    error.key,
    `${describeError(error)}; of project "${project}", what is sealed with that key cannot be read`,
    { cause: error },
  );
}

async function findKeyLater(
  repository: Repository,
  options: { name: string; secret: Secret; id: string },
  context: Context,
): Promise<ProjectKey | undefined> {
  const key = projectPrefix(options.name) + keyName(options.id);
  try {
    return await readKey(repository, { ...options, key }, context);
  } catch (error) {
    if (error instanceof MissingError) return undefined;
    throw error;
  }
}

async function listKeys(repository: Repository, project: string, { signal }: Context): Promise<string[]> {
  const keys: string[] = [];
  const prefix = projectPrefix(project) + KEYS_PREFIX;
  for await (const { key } of repository.store.list(prefix, { signal })) {
    // Whatever else lies there is no key.
    if (fromHex(key.slice(prefix.length), KEY_ID_BYTES) !== undefined) keys.push(key);
  }
  return keys;
}

/** Ids in hex of the project's keys, ascending: what either of two listings tells. */
export async function keysOfProject(
  repository: Repository,
  project: string,
  context: Context,
): Promise<string[]> {
  const looks = [await listKeys(repository, project, context), await listKeys(repository, project, context)];
  return [...new Set(looks.flat().map(keyIdOf))].sort();
}

async function createKey(
  repository: Repository,
  options: { name: string; secret: Secret },
  { signal }: Context,
) {
  const secret = randomBytes(SECRET_BYTES);
  const id = toHex(deriveKeys(secret).id);
  const wrapped = await wrapSecret(secret, options.secret, randomBytes);
  const body = encodeCheckedJson({ key: id, holders: [wrapped] });
  await repository.store.put(projectPrefix(options.name) + keyName(id), body, { signal });
}

async function readKey(
  repository: Repository,
  options: { name: string; secret: Secret; key: string },
  context: Context,
): Promise<ProjectKey> {
  return await readTwice(() => readKeyOnce(repository, options, context));
}

async function readKeyOnce(
  repository: Repository,
  options: { name: string; secret: Secret; key: string },
  { signal }: Context,
): Promise<ProjectKey> {
  const bytes = await repository.store.get(options.key, { signal, range: CHECKED_JSON_RANGE });
  const fields = decodeCheckedJson(bytes, options.key);
  const damaged = (state: string) => new DamageError(options.key, `Cannot read "${options.key}": ${state}`);
  const keyId = fromHex(String(fields.key), KEY_ID_BYTES);
  if (keyId === undefined || !options.key.endsWith(`/${fields.key}`)) {
    throw damaged("it is not the key that its name says");
  }
  const holders = readHolders(fields.holders);
  if (holders === undefined) throw damaged("it does not say, as varve would, how to unwrap the key");
  for (const wrapped of holders) {
    if (wrapped.kind !== options.secret.kind) continue;
    const secret = await unwrapSecret(wrapped, options.secret, keyId);
    if (secret !== undefined && equalBytes(deriveKeys(secret).id, keyId)) return deriveKeys(secret);
  }
  throw wrongSecret(options, holders.map(({ kind }) => kind));
}

function wrongSecret(options: { name: string; secret: Secret }, kinds: WrappedSecret["kind"][]): VarveError {
  const cannot = `Cannot open project "${options.name}":`;
  if (kinds.includes(options.secret.kind)) {
    const what = {
      none: "its key was changed",
      passphrase: "the passphrase is wrong",
      key: "it is another key file's",
    };
    return new VarveError("wrong_secret", `${cannot} ${what[options.secret.kind]}`);
  }
  const wanted = {
    none: "it was made without a passphrase or key file; run without one",
    passphrase: "it needs a passphrase: give --passphrase-file or VARVE_PASSPHRASE_FILE",
    key: "it needs a key file: give --key-file or VARVE_KEY_FILE",
  };
  return new VarveError("wrong_secret", `${cannot} ${kinds.map((kind) => wanted[kind]).join(", or ")}`);
}
