/** A repository: a store with `varve.json` in it. docs/format.md, "The two texts". */
import { DamageError, MissingError, NoRepositoryError, UsageError, VarveError } from "../errors.ts";
import { toHex } from "../util/bytes.ts";
import { CHECKED_JSON_RANGE, decodeCheckedJson, encodeCheckedJson } from "../format/checked_json.ts";
import { record, tryRead } from "../format/document.ts";
import * as field from "../format/fields.ts";
import { REPOSITORY_KEY } from "../format/layout.ts";
import { BLOCK_BYTES, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, REPOSITORY_ID_BYTES } from "../format/limits.ts";
import type { Store } from "../store/store.ts";
import type { Context } from "../context.ts";
import { randomBytes } from "../util/random.ts";
import { readTwice } from "./read_twice.ts";

/** docs/operating.md, "A lost varve.json". */
const REMEDY =
  'restore it from a copy, or remove it and run "varve init", which leaves all projects unchanged';

export interface Repository {
  /** 32 hex digits; keys are bound to it, and local caches named by it. */
  id: string;
  store: Store;
  chunkBytes: number;
}

/**
 * Makes a repository, with the id `id` if its keys are there already. Throws `conflict` where the store holds one, or gets one
 * at the same time.
 */
export async function initRepository(
  store: Store,
  { chunkBytes, id = toHex(randomBytes(REPOSITORY_ID_BYTES)) }: {
    chunkBytes: number;
    id?: string | undefined;
  },
  context: Context,
): Promise<Repository> {
  if (tryRead(chunkBytes, field.chunkSize) === undefined) {
    throw new UsageError(
      `Cannot use chunks of ${chunkBytes} bytes: expected a multiple of ${BLOCK_BYTES} from ${MIN_CHUNK_BYTES} to ${MAX_CHUNK_BYTES}`,
    );
  }
  if (await isThere(store, context)) {
    throw new VarveError("conflict", `Cannot create a repository in "${store.url}": it already has one`);
  }
  const body = encodeCheckedJson({ repository: id, chunk_bytes: chunkBytes });
  await store.put(REPOSITORY_KEY, body, { signal: context.signal, ifAbsent: true });
  // Read back: an attempt before the last may have written it, or another host.
  const repository = await openRepository(store, context);
  if (repository.id === id) return repository;
  throw new VarveError(
    "conflict",
    `Cannot create a repository in "${store.url}": another host created one at the same time; retry`,
  );
}

/** Looked at twice: what is there must not be written over. */
async function isThere(store: Store, { signal }: Context): Promise<boolean> {
  if (await store.head(REPOSITORY_KEY, { signal }) !== undefined) return true;
  for await (const { key } of store.list(REPOSITORY_KEY, { signal })) return key === REPOSITORY_KEY;
  return false;
}

const readFields = record<{ repository: string; chunk_bytes: number }>({
  repository: field.hex(REPOSITORY_ID_BYTES),
  chunk_bytes: field.chunkSize,
});

/**
 * Throws `no_repository` where the store holds none, `format_version` where a later varve made it, `DamageError` where
 * its file says what no varve would write: folders of this host are named by its id.
 */
export async function openRepository(store: Store, context: Context): Promise<Repository> {
  const fields = tryRead(await readRepositoryFile(store, context), readFields);
  if (fields === undefined) {
    throw new DamageError(
      REPOSITORY_KEY,
      `Cannot open the repository "${store.url}": its "${REPOSITORY_KEY}" was not written by varve; ${REMEDY}`,
    );
  }
  return { id: fields.repository, store, chunkBytes: fields.chunk_bytes };
}

/**
 * Opens the repository in another store, to or from which a project is copied. `cannot` begins the error. Throws
 * `no_repository` where there is none, `conflict` where it has another chunk size: neither could read the other's points.
 */
export async function openSecond(
  store: Store,
  { chunkBytes, cannot }: { chunkBytes: number; cannot: string },
  context: Context,
): Promise<Repository> {
  const second = await openRepository(store, context);
  if (second.chunkBytes === chunkBytes) return second;
  throw new VarveError(
    "conflict",
    `${cannot} "${store.url}": its chunk size is ${second.chunkBytes} bytes instead of ${chunkBytes}`,
  );
}

async function readRepositoryFile(store: Store, { signal }: Context): Promise<Record<string, unknown>> {
  try {
    return await readTwice(async () =>
      decodeCheckedJson(
        await store.get(REPOSITORY_KEY, { signal, range: CHECKED_JSON_RANGE }),
        REPOSITORY_KEY,
      )
    );
  } catch (cause) {
    if (cause instanceof MissingError) {
      throw new NoRepositoryError(store.url, 'check --repo, or create it with "varve init"');
    }
    if (!(cause instanceof DamageError)) throw cause;
    throw new DamageError(REPOSITORY_KEY, `${cause.message}; ${REMEDY}`);
  }
}
