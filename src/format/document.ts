/**
 * Documents: the JSON that sealed objects and local caches hold. Whoever has a project's key, or can write to a cache, can
 * make any: of each field only what it may be is believed, and all that is not named here is left out. docs/format.md, "Documents".
 */
import { cannotRead, VarveError } from "../errors.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";
import { MAX_DOCUMENT_BYTES } from "./limits.ts";

/** Gives back what of a parsed value is believed. Throws where it is not a `T`. */
export type Reader<T> = (value: unknown) => T;

/** Why a document is refused: its message goes on after `Cannot read "key": `. */
class Refusal extends Error {}

/** A value, or one within it, that is not what it must be. */
class Mismatch extends Refusal {
  readonly #wanted: string;
  readonly #path: readonly string[];

  constructor(wanted: string, path: readonly string[] = []) {
    super(`${path.length === 0 ? "it" : `its "${path.join(".")}"`} is not ${wanted}`);
    this.#wanted = wanted;
    this.#path = path;
  }

  within(name: string): Mismatch {
    return new Mismatch(this.#wanted, [name, ...this.#path]);
  }
}

/** What a document is called in errors, and what it may hold. */
interface DocumentOptions<T> {
  key: string;
  read: Reader<T>;
}

/** The document in `bytes`. Throws `DamageError`, which says what is wrong. */
export function decodeDocument<T>(bytes: Uint8Array, { key, read }: DocumentOptions<T>): T {
  try {
    return read(parse(bytes));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw cannotRead(key, error.message);
  }
}

/** What of a parsed value is believed; `undefined` if it is not what `read` reads. */
export function tryRead<T>(value: unknown, read: Reader<T>): T | undefined {
  try {
    return read(value);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return undefined;
  }
}

/** The bytes of a document. Throws `failed` for what nobody would read: it must not lie in the store for good. */
export function encodeDocument<T>(document: T, { key, read }: DocumentOptions<T>): Uint8Array {
  const bytes = utf8(JSON.stringify(document));
  try {
    read(parse(bytes));
    return bytes;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new VarveError("failed", `Cannot write "${key}": ${error.message}`);
  }
}

function parse(bytes: Uint8Array): unknown {
  if (bytes.length > MAX_DOCUMENT_BYTES) throw new Refusal(`it is longer than ${MAX_DOCUMENT_BYTES} bytes`);
  try {
    return JSON.parse(fromUtf8(bytes) ?? "");
  } catch {
    throw new Refusal("it is not valid JSON");
  }
}

/** A text of at most so many bytes as UTF-8. */
export function text({ most }: { most: number }): Reader<string> {
  return where(
    (value): value is string => typeof value === "string" && Buffer.byteLength(value) <= most,
    `a text of at most ${most} bytes`,
  );
}

interface Bounds {
  least?: number;
  most: number;
}

/** A whole number. */
export function whole({ least = 0, most }: Bounds): Reader<number> {
  return where(
    (value): value is number => Number.isSafeInteger(value) && isWithin(value as number, least, most),
    `a whole number from ${least} to ${most}`,
  );
}

/** Any number that is finite. */
export function number({ least = 0, most }: Bounds): Reader<number> {
  return where(
    (value): value is number => typeof value === "number" && isWithin(value, least, most),
    `a number from ${least} to ${most}`,
  );
}

function isWithin(value: number, least: number, most: number): boolean {
  return value >= least && value <= most;
}

export function oneOf<const T extends string | number>(...values: readonly T[]): Reader<T> {
  return where((value): value is T => values.some((known) => known === value), values.join(" or "));
}

/** What `is` says yes to; `wanted` ends the sentence "it is not …". */
export function where<T>(is: (value: unknown) => value is T, wanted: string): Reader<T> {
  return (value) => {
    if (is(value)) return value;
    throw new Mismatch(wanted);
  };
}

export function orNull<T>(read: Reader<T>): Reader<T | null> {
  return (value) => value === null ? null : read(value);
}

/** A field that may be left out. */
export function optional<T>(read: Reader<T>): Reader<T | undefined> {
  return (value) => value === undefined ? undefined : read(value);
}

/** An array of at most so many. */
export function list<T>(read: Reader<T>, { most }: { most: number }): Reader<T[]> {
  return (value) => {
    if (!Array.isArray(value) || value.length > most) throw new Mismatch(`a list of at most ${most}`);
    return value.map((item, index) => readWithin(String(index), read, item));
  };
}

/** An object with these fields; those that it has beside them are left out. */
export function record<T extends object>(fields: { [K in keyof T]-?: Reader<T[K]> }): Reader<T> {
  const readers = Object.entries(fields) as [string, Reader<unknown>][];
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Mismatch("an object");
    const read = readers.map(([name, of]) => [name, readWithin(name, of, Reflect.get(value, name))] as const);
    return Object.fromEntries(read.filter(([, field]) => field !== undefined)) as T;
  };
}

function readWithin<T>(name: string, read: Reader<T>, value: unknown): T {
  try {
    return read(value);
  } catch (error) {
    throw error instanceof Mismatch ? error.within(name) : error;
  }
}
