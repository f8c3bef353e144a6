/**
 * A project's key objects: made, read, and opened with what the operator holds. The store is believed nothing: a key says
 * which project it is for, and opens only there; beside one that is sealed, one that lies open counts for nothing.
 */
import {
  deriveKeys,
  type HolderKind,
  type KeyPlace,
  openSecret,
  type ProjectKeys,
  readHolders,
  type Secret,
  unwrapCost,
  unwrapSecret,
  type WrappedSecret,
  wrapSecret,
} from "../codec/keys.ts";
import { DamageError, describeError, isUnreadable, type UnreadableError, VarveError } from "../errors.ts";
import { equalBytes, fromHex, toHex } from "../util/bytes.ts";
import { CHECKED_JSON_RANGE, decodeCheckedJson, encodeCheckedJson } from "../format/checked_json.ts";
import { keyName, KEYS_PREFIX, projectPrefix } from "../format/layout.ts";
import { KEY_ID_BYTES, SECRET_BYTES } from "../format/limits.ts";
import { quote } from "../format/names.ts";
import type { Store } from "../store/store.ts";
import { type Context, tellProblem } from "../context.ts";
import { randomBytes } from "../util/random.ts";
import { readTwice } from "./read_twice.ts";

/** As much work as trying one passphrase may be in a project, in that of one holder: whoever can write could plant any number. */
const MAX_COST = 16;

/** A key that is whole, but is not to be used: another project's, or nobody's who is here. */
class UnusableKeyError extends DamageError {
  constructor(key: string, state: string) {
    super(key, `Cannot use the key "${key}": ${state}`);
  }
}

/** A key object as it stands in the store. */
interface StoredKey {
  /** Of the store. */
  key: string;
  /** In hex. */
  id: string;
  holders: WrappedSecret[];
}

/** A key object that was opened. */
interface OpenedKey {
  stored: StoredKey;
  keys: ProjectKeys;
  /** Whoever can read the store could open it. */
  isOpen: boolean;
}

/** The keys that can be used. */
interface OpenedKeys {
  /** By id in hex, ascending; at least one. */
  keys: ReadonlyMap<string, ProjectKeys>;
  /** What the first of them opens with: `none` where it lies open. */
  encryption: HolderKind;
  /** By id in hex: why a key that is there is not among them. */
  damaged: ReadonlyMap<string, UnreadableError>;
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

function keyIdOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

/** Writes a new key for the project `name`, wrapped for `secret`, or for nobody. Returns its id in hex. */
export async function createKey(
  store: Store,
  { name, secret: holder }: { name: string; secret: Secret | undefined },
  { signal }: Context,
): Promise<string> {
  const secret = randomBytes(SECRET_BYTES);
  const id = toHex(deriveKeys(secret, name).id);
  const wrapped = await wrapSecret(secret, { project: name, holder }, randomBytes);
  const body = encodeCheckedJson({ project: name, key: id, holders: [wrapped] });
  await store.put(projectPrefix(name) + keyName(id), body, { signal });
  return id;
}

/** The key object at `key`. Throws `DamageError` where it is none, or another project's. */
export function decodeKey(bytes: Uint8Array, { key, project }: { key: string; project: string }): StoredKey {
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
  const holders = readHolders(fields.holders);
  if (holders === undefined) throw damaged("it has no valid key holders");
  return { key, id, holders };
}

/**
 * Opens the key objects `stored` of the project `name`. What cannot be used is told of, while any other can. Throws
 * `wrong_secret` where the secrets open none, `DamageError` where none can be read.
 */
export async function openKeys(
  store: Store,
  { name, secrets, stored }: { name: string; secrets: readonly Secret[]; stored: readonly string[] },
  context: Context,
): Promise<OpenedKeys> {
  const damaged = new Map<string, UnreadableError>();
  const found: StoredKey[] = [];
  for (const key of stored) {
    try {
      found.push(await readKey(store, { key, project: name }, context));
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      damaged.set(keyIdOf(key), error);
    }
  }
  const { opened, untried } = await openEach(found, { name, secrets });
  const usable = preferSealed(opened, { found, isDoubtful: secrets.length > 0 && damaged.size > 0 });
  if (usable.length === 0) throw noneOpens(name, { secrets, found, damaged, untried });
  for (const stored of found.filter((stored) => !usable.some((key) => key.stored === stored))) {
    const state = isOpen(stored) ? LIES_OPEN : untried.has(stored) ? COSTS_TOO_MUCH : STAYS_CLOSED;
    damaged.set(stored.id, new UnusableKeyError(stored.key, state));
  }
  tellKeys(name, { usable, damaged }, context);
  const keys = new Map(usable.map(({ stored, keys }) => [stored.id, keys]));
  return { keys, encryption: encryptionOf(usable[0]!.stored), damaged };
}

const LIES_OPEN = "it is stored unprotected beside a protected one";
const STAYS_CLOSED = "none of the given secrets unlocks it";
const COSTS_TOO_MUCH = "the keys would take too much work to unlock";

/** A key object of the project, opened; `undefined` where it is not there to be used. */
export async function openLaterKey(
  store: Store,
  { name, secrets, id, mayBeOpen }: {
    name: string;
    secrets: readonly Secret[];
    id: string;
    mayBeOpen: boolean;
  },
  context: Context,
): Promise<ProjectKeys | undefined> {
  const stored = await readKey(store, { key: projectPrefix(name) + keyName(id), project: name }, context);
  const { opened: [opened] } = await openEach([stored], { name, secrets });
  return opened === undefined || (opened.isOpen && !mayBeOpen) ? undefined : opened.keys;
}

async function readKey(
  store: Store,
  { key, project }: { key: string; project: string },
  { signal }: Context,
): Promise<StoredKey> {
  return await readTwice(async () => {
    const bytes = await store.get(key, { signal, range: CHECKED_JSON_RANGE });
    return decodeKey(bytes, { key, project });
  });
}

/**
 * Those that open, in the order of `found`. The cheapest holders are tried first, until as much work was done as is
 * allowed; `untried` are those of which not all were.
 */
async function openEach(
  found: readonly StoredKey[],
  { name, secrets }: { name: string; secrets: readonly Secret[] },
): Promise<{ opened: OpenedKey[]; untried: ReadonlySet<StoredKey> }> {
  const attempts = found
    .flatMap((stored) => stored.holders.map((holder) => ({ stored, holder, cost: unwrapCost(holder) })))
    .sort((a, b) => a.cost - b.cost);
  const opened = new Map<StoredKey, OpenedKey>();
  const untried = new Set<StoredKey>();
  let spent = 0;
  for (const { stored, holder, cost } of attempts) {
    if (opened.has(stored)) continue;
    if (spent + cost > MAX_COST) {
      untried.add(stored);
      continue;
    }
    spent += cost;
    const place = { project: name, keyId: fromHex(stored.id, KEY_ID_BYTES)! };
    const keys = await openHolder(holder, { secrets, place });
    if (keys !== undefined) opened.set(stored, { stored, keys, isOpen: isOpen(stored) });
  }
  return { opened: found.flatMap((stored) => opened.get(stored) ?? []), untried };
}

async function openHolder(
  holder: WrappedSecret,
  { secrets, place }: { secrets: readonly Secret[]; place: KeyPlace },
): Promise<ProjectKeys | undefined> {
  for (const secret of [undefined, ...secrets]) {
    const opened = secret === undefined ? openSecret(holder) : await unwrapSecret(holder, secret, place);
    if (opened === undefined) continue;
    const keys = deriveKeys(opened, place.project);
    if (equalBytes(keys.id, place.keyId)) return keys;
  }
  return undefined;
}

function isOpen(stored: StoredKey): boolean {
  return encryptionOf(stored) === "none";
}

/** Whoever else holds it: a key that lies open is one. */
function encryptionOf({ holders }: StoredKey): HolderKind {
  return holders.some(({ kind }) => kind === "none") ? "none" : holders[0]!.kind;
}

/**
 * Anybody who can write to the store can make a key that lies open: with a sealed one beside it, it is not the project's. Nor is
 * it believed beside one that cannot be read, and may have been sealed, where there are secrets that it may have been sealed for.
 */
function preferSealed(
  opened: readonly OpenedKey[],
  { found, isDoubtful }: { found: readonly StoredKey[]; isDoubtful: boolean },
): OpenedKey[] {
  return found.every(isOpen) && !isDoubtful ? [...opened] : opened.filter((key) => !key.isOpen);
}

function noneOpens(
  name: string,
  { secrets, found, damaged, untried }: {
    secrets: readonly Secret[];
    found: readonly StoredKey[];
    damaged: ReadonlyMap<string, UnreadableError>;
    untried: ReadonlySet<StoredKey>;
  },
): VarveError {
  for (const { key } of untried) {
    const cause = new UnusableKeyError(key, COSTS_TOO_MUCH);
    return new DamageError(key, `Cannot open project "${name}": ${cause.message}`);
  }
  const kinds = new Set(found.flatMap(({ holders }) => holders.map(({ kind }) => kind)));
  const [cause] = damaged.values();
  if (cause === undefined || found.some((stored) => !isOpen(stored))) {
    return wrongSecret(name, { secrets, kinds });
  }
  return new DamageError(
    cause.key,
    `Cannot open project "${name}": ${describeError(cause)}; restore the project's own key`,
    { cause },
  );
}

function wrongSecret(
  name: string,
  { secrets, kinds }: { secrets: readonly Secret[]; kinds: ReadonlySet<HolderKind> },
): VarveError {
  const cannot = `Cannot open project "${name}":`;
  const tried = secrets.find(({ kind }) => kinds.has(kind));
  const states = {
    "passphrase": tried && "the passphrase is wrong",
    "key-file": tried && "the key file is wrong",
  };
  if (tried !== undefined) return new VarveError("wrong_secret", `${cannot} ${states[tried.kind]}`);
  const wanted = {
    "none": "its key was changed",
    "passphrase": "it needs a passphrase: give --passphrase-file or VARVE_PASSPHRASE_FILE",
    "key-file": "it needs a key file: give --key-file or VARVE_KEY_FILE",
  };
  return new VarveError("wrong_secret", `${cannot} ${[...kinds].map((kind) => wanted[kind]).join(", or ")}`);
}

/** What cannot be read is a problem. What is not to be used hinders nothing: that is only said, as a second key is. */
function tellKeys(
  name: string,
  { usable, damaged }: { usable: readonly OpenedKey[]; damaged: ReadonlyMap<string, UnreadableError> },
  context: Context,
): void {
  for (const error of damaged.values()) {
    const line = `${describeError(error)}; data of project "${name}" encrypted with that key cannot be read`;
    if (error instanceof UnusableKeyError) context.log.warn({ project: name }, line);
    else tellProblem(new DamageError(error.key, line, { cause: error }), context);
  }
  if (usable.length < 2) return;
  const ids = usable.map(({ stored }) => stored.id).join(", ");
  context.log.warn(
    { project: name },
    `project "${name}" has ${usable.length} keys: ${ids}; new volumes use the first`,
  );
}
