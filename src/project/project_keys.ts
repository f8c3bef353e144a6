/**
 * A project's keys: made, and opened with what the operator holds. The store is believed nothing: a key says for which
 * project and repository it is, and opens only there; beside one that is sealed, one that lies open counts for nothing.
 */
import {
  deriveKeys,
  type HolderKind,
  type KeyPlace,
  openSecret,
  type ProjectKeys,
  type Secret,
  unwrapCost,
  unwrapSecret,
  type WrappedSecret,
  wrapSecret,
} from "../codec/keys.ts";
import { DamageError, describeError, isUnreadable, type UnreadableError, VarveError } from "../errors.ts";
import { equalBytes, fromHex } from "../util/bytes.ts";
import { keyName, projectPrefix } from "../format/layout.ts";
import { KEY_ID_BYTES, SECRET_BYTES } from "../format/limits.ts";
import { type Context, tellProblem } from "../context.ts";
import { randomBytes } from "../util/random.ts";
import { isBound, keyIdOf, readKey, type StoredKey, UnusableKeyError, writeKey } from "./key_object.ts";
import type { Repository } from "./repository.ts";

/** As much work as trying one passphrase may be in a project, in that of one holder: whoever can write could plant any number. */
const MAX_COST = 16;

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

/** Writes a new key for the project `name`, wrapped for `secret`, or for nobody. */
export async function createKey(
  repository: Repository,
  { name, secret: holder }: { name: string; secret: Secret | undefined },
  { signal }: Context,
): Promise<void> {
  const secret = randomBytes(SECRET_BYTES);
  const holders = [await wrapSecret(secret, { project: name, holder }, randomBytes)];
  await writeKey(repository, { name, keys: deriveKeys(secret, name), holders }, { signal });
}

/**
 * Opens the key objects `stored` of the project `name`. What cannot be used is told of, while any other can. Throws
 * `wrong_secret` where the secrets open none, `DamageError` where none can be read.
 */
export async function openKeys(
  repository: Repository,
  { name, secrets, stored }: { name: string; secrets: readonly Secret[]; stored: readonly string[] },
  context: Context,
): Promise<OpenedKeys> {
  const damaged = new Map<string, UnreadableError>();
  const read: StoredKey[] = [];
  for (const key of stored) {
    try {
      read.push(await readKey(repository, { key, project: name }, context));
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      damaged.set(keyIdOf(key), error);
    }
  }
  const { opened, untried, foreign } = await openEach(read, { name, secrets, repository });
  for (const { id, key } of foreign) damaged.set(id, new UnusableKeyError(key, IS_FOREIGN));
  const found = read.filter((stored) => !foreign.has(stored));
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

const IS_FOREIGN = "nothing proves that it is a key of this repository";
const LIES_OPEN = "it is stored unprotected beside a protected one";
const STAYS_CLOSED = "none of the given secrets unlocks it";
const COSTS_TOO_MUCH = "the keys would take too much work to unlock";

/** A key object of the project, opened; `undefined` where it is not there to be used. */
export async function openLaterKey(
  repository: Repository,
  { name, secrets, id, mayBeOpen }: {
    name: string;
    secrets: readonly Secret[];
    id: string;
    mayBeOpen: boolean;
  },
  context: Context,
): Promise<ProjectKeys | undefined> {
  const place = { key: projectPrefix(name) + keyName(id), project: name };
  const stored = await readKey(repository, place, context);
  const { opened: [opened] } = await openEach([stored], { name, secrets, repository });
  return opened === undefined || (opened.isOpen && !mayBeOpen) ? undefined : opened.keys;
}

/** What became of the keys that were tried. */
interface Attempts {
  /** In the order in which they were found. */
  opened: OpenedKey[];
  /** Not all of their holders were tried. */
  untried: ReadonlySet<StoredKey>;
  /** They open, but do not prove to be of this repository. */
  foreign: ReadonlySet<StoredKey>;
}

/** The cheapest holders are tried first, until as much work was done as is allowed. */
async function openEach(
  found: readonly StoredKey[],
  { name, secrets, repository }: { name: string; secrets: readonly Secret[]; repository: Repository },
): Promise<Attempts> {
  const attempts = found
    .flatMap((stored) => stored.holders.map((holder) => ({ stored, holder, cost: unwrapCost(holder) })))
    .sort((a, b) => a.cost - b.cost);
  const opened = new Map<StoredKey, OpenedKey>();
  const untried = new Set<StoredKey>();
  const foreign = new Set<StoredKey>();
  let spent = 0;
  for (const { stored, holder, cost } of attempts) {
    if (opened.has(stored) || foreign.has(stored)) continue;
    if (spent + cost > MAX_COST) {
      untried.add(stored);
      continue;
    }
    spent += cost;
    const place = { project: name, keyId: fromHex(stored.id, KEY_ID_BYTES)! };
    const keys = await openHolder(holder, { secrets, place });
    if (keys === undefined) continue;
    if (isBound(stored, keys, repository)) opened.set(stored, { stored, keys, isOpen: isOpen(stored) });
    else foreign.add(stored);
  }
  return { opened: found.flatMap((stored) => opened.get(stored) ?? []), untried, foreign };
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
  { secrets, found, damaged, untried }: Pick<Attempts, "untried"> & {
    secrets: readonly Secret[];
    found: readonly StoredKey[];
    damaged: ReadonlyMap<string, UnreadableError>;
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
