/** Where the operator's secrets come from: files or the environment, never an argument. */
import * as fs from "node:fs";
import type { Secret } from "../project/open_project.ts";
import { describeError, UsageError } from "../errors.ts";
import { MIB } from "../format/limits.ts";
import { counted } from "../util/counted.ts";

const KEY_BYTES = 32;
/** A file that is longer is none that was made to hold a secret. */
const MAX_FILE_BYTES = MIB;
/** A passphrase that has fewer bytes can be guessed by whoever has a copy of the store. */
const SHORT_BYTES = 12;
const OTHERS_MODE = 0o077;
const LF = 0x0a, CR = 0x0d;
const BOM = [0xef, 0xbb, 0xbf];

export type { Secret };

export type Environment = Record<string, string | undefined>;

export interface SecretOptions {
  passphraseFile?: string[] | undefined;
  keyFile?: string[] | undefined;
}

/** What is told of a secret that works, and yet should be another. */
type Warn = (line: string) => void;

export interface ReadSecrets {
  /** Of the options and of the environment: each project takes what fits. */
  secrets: Secret[];
  /** What a new project is made with one of: those of the options, or if there are none, of the environment. */
  preferred: Secret[];
}

/**
 * All secrets that the options and the environment name. Throws `UsageError` where a file cannot be read, is too long, a
 * passphrase is empty, or a key file does not hold exactly 32 bytes. Where options name secrets, what is wrong with those of
 * the environment is a warning.
 */
export function readSecrets(options: SecretOptions, env: Environment, warn: Warn): ReadSecrets {
  const named = readFiles(options.passphraseFile ?? [], options.keyFile ?? [], warn);
  if (named.length === 0) {
    const secrets = readEnvironment(env, warn);
    return { secrets, preferred: secrets };
  }
  try {
    return { secrets: [...named, ...readEnvironment(env, warn)], preferred: named };
  } catch (error) {
    warn(`${describeError(error)}; only the secrets of the options are used`);
    return { secrets: named, preferred: named };
  }
}

function readEnvironment(env: Environment, warn: Warn): Secret[] {
  const list = (value: string | undefined) => value === undefined ? [] : [value];
  const secrets = readFiles(list(env.VARVE_PASSPHRASE_FILE), list(env.VARVE_KEY_FILE), warn);
  if (env.VARVE_PASSPHRASE === undefined) return secrets;
  return [...secrets, { kind: "passphrase", passphrase: readVariable("VARVE_PASSPHRASE", env) }];
}

/** Of a secret that a project is to be made with. */
export function warnOfShort(secret: Secret | undefined, warn: Warn): void {
  if (secret?.kind !== "passphrase" || secret.passphrase.length >= SHORT_BYTES) return;
  warn(
    `the passphrase has only ${
      counted(secret.passphrase.length, "byte")
    }: anyone with a copy of the store can guess it`,
  );
}

/** What is set counts, also when it is empty: a script whose variable got lost must not make an open project. */
function readFiles(passphrases: readonly string[], keys: readonly string[], warn: Warn): Secret[] {
  return [
    ...passphrases.map((path) => ({ kind: "passphrase", passphrase: readPassphrase(path, warn) }) as const),
    ...keys.map((path) => ({ kind: "key-file", key: readKey(path, warn) }) as const),
  ];
}

/** The bytes of the file, whatever they are, without the newline at its end. */
function readPassphrase(path: string, warn: Warn): Uint8Array {
  const bytes = readFile(path, "passphrase file", warn);
  if (BOM.every((byte, at) => bytes[at] === byte)) {
    warn(
      `the passphrase file "${path}" starts with a byte order mark, which is part of the passphrase`,
    );
  }
  const passphrase = bytes.at(-1) === LF ? bytes.subarray(0, -1) : bytes;
  if (passphrase.at(-1) === CR) {
    warn(`the passphrase file "${path}" ends with CR LF; the CR is part of the passphrase`);
  }
  return notEmpty(passphrase, `"${path}" as a passphrase file`);
}

/** The runtime's text of a variable has lost the bytes that are no UTF-8. */
function readVariable(name: string, env: Environment): Uint8Array {
  const text = env[name]!;
  const bytes = text.includes("\ufffd") ? bytesOfVariable(name) ?? Buffer.from(text) : Buffer.from(text);
  return notEmpty(new Uint8Array(bytes), `${name} as a passphrase`);
}

function bytesOfVariable(name: string): Buffer | undefined {
  const prefix = Buffer.from(`${name}=`);
  let rest = fs.readFileSync("/proc/self/environ");
  while (rest.length > 0) {
    const end = rest.indexOf(0);
    const entry = end < 0 ? rest : rest.subarray(0, end);
    if (entry.subarray(0, prefix.length).equals(prefix)) return entry.subarray(prefix.length);
    rest = end < 0 ? rest.subarray(rest.length) : rest.subarray(end + 1);
  }
  return undefined;
}

function notEmpty(passphrase: Uint8Array, what: string): Uint8Array {
  if (passphrase.length === 0) throw new UsageError(`Cannot use ${what}: it is empty`);
  return passphrase;
}

function readKey(path: string, warn: Warn): Uint8Array {
  const key = readFile(path, "key file", warn);
  if (key.length === KEY_BYTES) return key;
  throw new UsageError(
    `Cannot use "${path}" as a key file: it has ${counted(key.length, "byte")} instead of ${KEY_BYTES}`,
  );
}

function readFile(path: string, kind: string, warn: Warn): Uint8Array {
  try {
    const file = fs.statSync(path);
    if (file.isFile() && (file.mode & OTHERS_MODE) !== 0) {
      const mode = (file.mode & 0o777).toString(8).padStart(4, "0");
      warn(`the ${kind} "${path}" is readable by other users (mode ${mode}); run chmod 600`);
    }
    return readShort(path, kind);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`Cannot read the ${kind} "${path}"`, { cause });
  }
}

/** A device or pipe may give bytes without end. */
function readShort(path: string, kind: string): Uint8Array {
  const fd = fs.openSync(path, "r");
  try {
    const bytes = Buffer.alloc(MAX_FILE_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = fs.readSync(fd, bytes, length, bytes.length - length, null);
    }
    if (length <= MAX_FILE_BYTES) return new Uint8Array(bytes.subarray(0, length));
    throw new UsageError(`Cannot use "${path}" as a ${kind}: it has more than ${MAX_FILE_BYTES} bytes`);
  } finally {
    fs.closeSync(fd);
  }
}
