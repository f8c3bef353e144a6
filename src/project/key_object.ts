/**
 * A project's key objects: where they are, how they are written and read. Each says which project and repository it belongs
 * to, in the open; the secret that it wraps proves the rest. docs/format.md, "The two texts".
 */
import {
  isRepositoryMac,
  type ProjectKeys,
  readHolders,
  repositoryMac,
  type WrappedSecret,
} from "../codec/keys.ts";
import { DamageError } from "../errors.ts";
import { CHECKED_JSON_RANGE, decodeCheckedJson, encodeCheckedJson } from "../format/checked_json.ts";
import { keyName, KEYS_PREFIX, projectPrefix } from "../format/layout.ts";
import { KEY_ID_BYTES, REPOSITORY_ID_BYTES, REPOSITORY_MAC_BYTES } from "../format/limits.ts";
import { quote } from "../format/names.ts";
import type { RequestOptions, Store } from "../store/store.ts";
import type { Context } from "../context.ts";
import { fromHex, toHex } from "../util/bytes.ts";
import { readTwice } from "./read_twice.ts";
import type { Repository } from "./repository.ts";

/** A key that is whole, but is not to be used: another project's or repository's, or nobody's who is here. */
export class UnusableKeyError extends DamageError {
  constructor(key: string, state: string) {
    super(key, `Cannot use the key "${key}": ${state}`);
  }
}

/** What keys are bound to, and where they are. */
export type KeyRing = Pick<Repository, "id" | "store">;

/** A key object as it stands in the store. */
export interface StoredKey {
  /** Of the store. */
  key: string;
  /** In hex. */
  id: string;
  /** Of which repository it says to be: 32 hex digits. */
  repositoryId: string;
  /** The proof of that. */
  repositoryMac: Uint8Array;
  holders: WrappedSecret[];
}

/** The store's keys of the project's key objects, ascending. Whatever else lies there is none. */
export async function listKeys(store: Store, project: string, { signal }: Context): Promise<string[]> {
  const keys: string[] = [];
  const prefix = projectPrefix(project) + KEYS_PREFIX;
  for await (const { key } of store.list(prefix, { signal })) {
    if (fromHex(key.slice(prefix.length), KEY_ID_BYTES) !== undefined) keys.push(key);
  }
  return keys;
}

/** Ids in hex of the project's keys, ascending: what either of two listings tells. */
export async function listKeyIds(store: Store, project: string, context: Context): Promise<string[]> {
  const looks = [await listKeys(store, project, context), await listKeys(store, project, context)];
  return [...new Set(looks.flat().map(keyIdOf))].sort();
}

export function keyIdOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

/** Writes the key object of the project `name` as one of this repository. What is wrapped may come from another one. */
export async function writeKey(
  { store, id: repositoryId }: KeyRing,
  { name, keys, holders }: { name: string; keys: ProjectKeys; holders: readonly WrappedSecret[] },
  options: RequestOptions,
): Promise<void> {
  const id = toHex(keys.id);
  const body = encodeCheckedJson({
    project: name,
    key: id,
    repository: repositoryId,
    repository_mac: toHex(repositoryMac(keys, repositoryId)),
    holders,
  });
  await store.put(projectPrefix(name) + keyName(id), body, options);
}

/** The key object at `key`. Throws `DamageError` where it is none, or another project's. */
function decodeKey(bytes: Uint8Array, { key, project }: { key: string; project: string }): StoredKey {
  const damaged = (state: string) => new DamageError(key, `Cannot use the key "${key}": ${state}`);
  const fields = decodeCheckedJson(bytes, key);
  const id = String(fields.key);
  if (fromHex(id, KEY_ID_BYTES) === undefined || !key.endsWith(`/${id}`)) {
    throw damaged("its content does not match its name");
  }
  if (fields.project !== project) {
    const other = typeof fields.project === "string" ? ` of project ${quote(fields.project)}` : "";
    throw new UnusableKeyError(key, `it is the key${other}, not of "${project}"`);
  }
  const { repository, repository_mac } = fields;
  const mac = typeof repository_mac === "string" ? fromHex(repository_mac, REPOSITORY_MAC_BYTES) : undefined;
  if (
    typeof repository !== "string" || fromHex(repository, REPOSITORY_ID_BYTES) === undefined ||
    mac === undefined
  ) throw damaged("it has no valid repository");
  const holders = readHolders(fields.holders);
  if (holders === undefined) throw damaged("it has no valid key holders");
  return { key, id, repositoryId: repository, repositoryMac: mac, holders };
}

/** Throws `UnusableKeyError` where the key says to be of another repository. Whether that is true, `isBound` tells. */
function assertOfRepository({ key, repositoryId }: StoredKey, repository: KeyRing): void {
  if (repositoryId === repository.id) return;
  throw new UnusableKeyError(
    key,
    `it is the key of repository ${repositoryId}, and this is repository ${repository.id}`,
  );
}

/** Whether the key proves to be of this repository. `keys` are what its secret yields. */
export function isBound(stored: StoredKey, keys: ProjectKeys, { id }: KeyRing): boolean {
  return stored.repositoryId === id && isRepositoryMac(stored.repositoryMac, keys, id);
}

/** The key object at `key`, of whatever repository. Throws `DamageError` where it cannot be used, `MissingError`. */
export async function readAnyKey(
  store: Store,
  { key, project }: { key: string; project: string },
  { signal }: Pick<Context, "signal">,
): Promise<StoredKey> {
  return await readTwice(async () =>
    decodeKey(await store.get(key, { signal, range: CHECKED_JSON_RANGE }), { key, project })
  );
}

/** The same of a key that says to be of this repository. */
export async function readKey(
  repository: KeyRing,
  place: { key: string; project: string },
  context: Pick<Context, "signal">,
): Promise<StoredKey> {
  const stored = await readAnyKey(repository.store, place, context);
  assertOfRepository(stored, repository);
  return stored;
}
