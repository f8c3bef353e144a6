/**
 * Whether a project was encrypted when this host opened it last: one word in a file. It is read before any key is, so only
 * the folder's rights protect it. Whoever can write to the store can put a key that lies open in the place of a sealed one.
 */
import type { HolderKind } from "../codec/keys.ts";
import { type OwnPath, within } from "../os/own_path.ts";
import { fromUtf8 } from "../util/bytes.ts";
import { readNoteFile, replaceNoteFile } from "./note_file.ts";
import { projectStateFolder, type StatePlace } from "./state_folder.ts";

/** Where it is; whoever removes it says that the project may be another one now. */
export function encryptionNotePath(place: StatePlace): OwnPath {
  return within(projectStateFolder(place), "encryption");
}

/** `undefined` where this host has not opened the project. Throws `failed`. */
export async function notedEncryption(place: StatePlace): Promise<HolderKind | undefined> {
  const bytes = await readNoteFile(encryptionNotePath(place));
  const text = bytes && fromUtf8(bytes);
  return KINDS.find((kind) => text === `${kind}\n`);
}

const KINDS: readonly HolderKind[] = ["none", "passphrase", "key-file"];

/** Throws `failed`. */
export async function noteEncryption(place: StatePlace, encryption: HolderKind): Promise<void> {
  await replaceNoteFile(encryptionNotePath(place), `${encryption}\n`, { isDurable: false });
}
