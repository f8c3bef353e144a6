/** Where the operator's secret comes from: a file or the environment, never an argument. */
import * as fs from "node:fs";
import type { Secret } from "../engine/project.ts";
import { UsageError } from "../errors.ts";

const KEY_BYTES = 32;

export type Environment = Record<string, string | undefined>;

export interface SecretOptions {
  passphraseFile?: string | undefined;
  keyFile?: string | undefined;
}

/**
 * Options come before the environment, whatever their kind. Throws `UsageError` where two of one place disagree about
 * the kind, a file cannot be read, a passphrase is empty, or a key file does not hold exactly 32 bytes.
 */
export function readSecret(options: SecretOptions, env: Environment): Secret {
  const fromOptions = readFiles(options, ["--passphrase-file", "--key-file"]);
  if (fromOptions !== undefined) return fromOptions;
  const files = { passphraseFile: env.VARVE_PASSPHRASE_FILE, keyFile: env.VARVE_KEY_FILE };
  const fromFiles = readFiles(files, ["VARVE_PASSPHRASE_FILE", "VARVE_KEY_FILE"]);
  if (fromFiles !== undefined) return fromFiles;
  if (env.VARVE_PASSPHRASE === undefined) return { kind: "none" };
  return {
    kind: "passphrase",
    passphrase: notEmpty(env.VARVE_PASSPHRASE, "VARVE_PASSPHRASE as a passphrase"),
  };
}

/** What is set counts, also when it is empty: a script whose variable got lost must not make an open project. */
function readFiles({ passphraseFile, keyFile }: SecretOptions, names: [string, string]): Secret | undefined {
  if (passphraseFile !== undefined && keyFile !== undefined) {
    throw new UsageError(`Cannot use both ${names[0]} and ${names[1]}: choose one`);
  }
  if (passphraseFile !== undefined) return { kind: "passphrase", passphrase: readPassphrase(passphraseFile) };
  if (keyFile !== undefined) return { kind: "key", key: readKey(keyFile) };
  return undefined;
}

function readPassphrase(path: string): string {
  const text = readFile(path, "passphrase file").toString("utf8");
  return notEmpty(text.replace(/\n$/, ""), `"${path}" as a passphrase file`);
}

function notEmpty(passphrase: string, what: string): string {
  if (passphrase === "") throw new UsageError(`Cannot use ${what}: it is empty`);
  return passphrase;
}

function readKey(path: string): Uint8Array {
  const key = readFile(path, "key file");
  if (key.length === KEY_BYTES) return new Uint8Array(key);
  throw new UsageError(`Cannot use "${path}" as a key file: it holds ${key.length} bytes, not ${KEY_BYTES}`);
}

function readFile(path: string, kind: string): Buffer {
  try {
    return fs.readFileSync(path);
  } catch (cause) {
    throw new UsageError(`Cannot read the ${kind} "${path}"`, { cause });
  }
}
