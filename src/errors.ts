/**
 * The error classes. Messages are one line, `Cannot <action> "<thing>": <state>`; what lies beneath is kept as
 * `cause`. Only `main.ts` turns a class into an exit code.
 */

/** What went wrong, as the exit code tells it (README, "Exit codes"). */
export type ErrorCode =
  | "failed"
  | "usage"
  | "damage"
  | "not_found"
  | "no_repository"
  | "conflict"
  | "format_version"
  | "wrong_secret"
  | "interrupted";

/** An error that is meant for the operator: its message can be shown as it is. */
export class VarveError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** There is no repository at `url` (exit code 10). */
export class NoRepositoryError extends VarveError {
  readonly url: string;

  constructor(url: string, advice: string) {
    super("no_repository", `Cannot open the repository "${url}": it does not exist; ${advice}`);
    this.url = url;
  }
}

/** The command line or an argument is not valid (exit code 2). */
export class UsageError extends VarveError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("usage", message, options);
  }
}

/**
 * An object definitely does not exist: an HTTP 404 or ENOENT, and nothing else. Where nobody can do without it, that is
 * damage to the repository.
 */
export class MissingError extends VarveError {
  readonly key: string;

  constructor(key: string, message: string, options?: { cause?: unknown }) {
    super("damage", message, options);
    this.key = key;
  }
}

/** A project that a command over all projects could not work on. */
export interface LeftOut {
  project: string;
  code: ErrorCode;
  message: string;
}

/** Projects were left out; the rest was done. */
export class LeftOutError extends VarveError {
  readonly leftOut: readonly LeftOut[];

  constructor(code: ErrorCode, message: string, leftOut: readonly LeftOut[]) {
    super(code, message);
    this.leftOut = leftOut;
  }
}

interface StoreErrorOptions {
  retryable: boolean;
  isFull?: boolean;
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** A store could not do what was asked of it. `retryable` says whether the same request may succeed later. */
export class StoreError extends VarveError {
  readonly retryable: boolean;
  /** There is no room for what was to be written: a full disk, a used-up quota. Only deleting helps. */
  readonly isFull: boolean;
  /** How long the store asks to be left alone before the next attempt. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: StoreErrorOptions) {
    super("failed", message, options);
    this.retryable = options.retryable;
    this.isFull = options.isFull ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Of a write: the store said that it has other bytes than were sent. What lies there must not be used. */
  get isOfOtherBytes(): boolean {
    return (this.cause as { isOfOtherBytes?: boolean } | undefined)?.isOfOtherBytes === true;
  }
}

/**
 * The store answers, but does not give this one object, however often it is asked: archived, refused, or failing for this
 * key alone. To whoever reads it that is damage at one place, not the end of the work.
 */
export class UnavailableError extends StoreError {
  readonly key: string;

  constructor(key: string, message: string, options?: { cause?: unknown }) {
    super(message, { ...options, retryable: false });
    this.key = key;
  }
}

/** An incoming stream is not what its format says. `offset` is the byte of the stream where that was seen. */
export class StreamError extends VarveError {
  readonly offset: number;

  constructor(message: string, offset: number, options?: { cause?: unknown }) {
    super("failed", `${message} (stream offset ${offset})`, options);
    this.offset = offset;
  }
}

/** A stored object is not what was written: its bytes were changed, cut or swapped. */
export class DamageError extends VarveError {
  readonly key: string;

  constructor(key: string, message: string, options?: { cause?: unknown }) {
    super("damage", message, options);
    this.key = key;
  }
}

/** The damage of the object at `key`, of which `state` says what is wrong. */
export function cannotRead(key: string, state: string, cause?: unknown): DamageError {
  return new DamageError(key, `Cannot read "${key}": ${state}`, { cause });
}

/** A manifest cuts its volume otherwise than the repository does: another `varve.json` was there when it was written. */
export class ChunkSizeError extends DamageError {
  /** Those of the manifest's chunks. */
  readonly chunkBytes: number;

  constructor(key: string, message: string, { chunkBytes }: { chunkBytes: number }) {
    super(key, message);
    this.chunkBytes = chunkBytes;
  }
}

/** What stands in the way of reading one object, while all others can be read. */
export type UnreadableError = DamageError | MissingError | UnavailableError;

/** Whether the error is about one object that is damaged, gone or withheld: what does not need it can go on. */
export function isUnreadable(error: unknown): error is UnreadableError {
  return error instanceof DamageError || error instanceof MissingError || error instanceof UnavailableError;
}

/** For `catch`: nothing for what cannot be read; throws any other error. */
export function unlessUnreadable(error: unknown): undefined {
  if (!isUnreadable(error)) throw error;
}

/** For `catch`: nothing for damage; throws any other error. */
export function unlessDamaged(error: unknown): undefined {
  if (!(error instanceof DamageError)) throw error;
}

/** The operator (or a signal) ended the work before it was done (exit code 130). */
export class InterruptedError extends VarveError {
  constructor(message = "Interrupted") {
    super("interrupted", message);
  }
}

/** The chain of causes as one line: `message: cause: cause's cause`. A cause that was mentioned before is left out. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let at = error; at !== undefined && at !== null && parts.length < 8;) {
    // Some causes are no errors, but have a message as one: the events of a worker that cannot load.
    const message = typeof at === "object" && "message" in at ? String(at.message) : String(at);
    const { text, mark } = readMessage(message);
    if (text !== "" && !parts.some((part) => part.includes(mark))) parts.push(text);
    at = at instanceof Error ? at.cause : undefined;
  }
  return escapeControls(parts.join(": ").replace(/\s*[\r\n]+\s*/g, " "));
}

/**
 * Node.js writes `ENOENT: no such file or directory, open '/x'` for a failed system call: the text for people is `no such
 * file or directory (ENOENT)`. A text that has the `mark` already tells as much.
 */
function readMessage(message: string): { text: string; mark: string } {
  const [, code, reason] = /^(E[A-Z0-9]+): ([^,]+), [a-z_0-9]+( '.*')?$/s.exec(message) ?? [];
  if (code === undefined) return { text: message, mark: message };
  return { text: `${reason} (${code})`, mark: `(${code})` };
}

/**
 * What steers a terminal, but for tab and newline, and what shows a text in another order than it has: the controls of C0 and
 * C1, line and paragraph separators, and Unicode's controls of direction (UAX #9).
 */
// deno-lint-ignore no-control-regex
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Such characters as escapes: what a stream, a store or somebody's backup says must not steer a terminal. */
export function escapeControls(text: string): string {
  return text.replace(STEERING, escapeCharacter);
}

/** The same of what is one line, or a part of it: tab and newline, too. */
export function escapeLine(text: string): string {
  return escapeControls(text).replace(/[\t\n]/g, escapeCharacter);
}

/** JSON, of which the same is said by JSON's own escapes: it stays the same document. */
export function escapeJson(text: string): string {
  return text.replace(STEERING, unicodeEscape);
}

function escapeCharacter(char: string): string {
  const code = char.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : unicodeEscape(char);
}

function unicodeEscape(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
