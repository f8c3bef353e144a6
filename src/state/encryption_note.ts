/**
 * Whether a project was encrypted when this host opened it last: one word in a file. It is read before any key is, so only
 * the folder's rights protect it. Whoever can write to the store can put a key that lies open in the place of a sealed one.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { HolderKind } from "../codec/keys.ts";
import { replaceFile } from "../os/replace_file.ts";
import { projectStateFolder, type StatePlace } from "./state_folder.ts";

/** Where it is; whoever removes it says that the project may be another one now. */
export function encryptionNotePath(place: StatePlace): string {
  return join(projectStateFolder(place), "encryption");
}

/** `undefined` where this host has not opened the project, or cannot tell. */
export async function notedEncryption(place: StatePlace): Promise<HolderKind | undefined> {
  const text = await readFile(encryptionNotePath(place), "utf8").catch(() => "");
  return KINDS.find((kind) => text === `${kind}\n`);
}

const KINDS: readonly HolderKind[] = ["none", "passphrase", "key-file"];

/** Throws system errors. */
export async function noteEncryption(place: StatePlace, encryption: HolderKind): Promise<void> {
  await replaceFile(encryptionNotePath(place), `${encryption}\n`, { isDurable: false });
}
