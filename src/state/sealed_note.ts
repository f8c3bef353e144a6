/**
 * A small file that only who can open the project can have written: a line of JSON, and on a second line its HMAC-SHA-256
 * under a key that is derived from a project's key.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { ProjectKeys } from "../codec/keys.ts";
import { fromHex, fromUtf8, toHex, utf8 } from "../util/bytes.ts";
import type { OwnPath } from "../os/own_path.ts";
import { readNoteFile, replaceNoteFile } from "./note_file.ts";

const MAC_BYTES = 32;

export interface NotePlace {
  file: OwnPath;
  /** What the note is about; a note that was moved to another place is none. */
  about: string;
}

export type NoteContent = Record<string, unknown>;

/**
 * The note's content; `undefined` where there is none, `untrusted` where it is not of one of the project's keys. `keyOf`
 * gives the key of an id in hex. Throws `failed` where something else than a file of this user's is in the note's place.
 */
export async function readNote(
  { file, about }: NotePlace,
  keyOf: (id: string) => ProjectKeys | undefined,
): Promise<NoteContent | "untrusted" | undefined> {
  const bytes = await readNoteFile(file);
  if (bytes === undefined) return undefined;
  try {
    const [line = "", mac = ""] = (fromUtf8(bytes) ?? "").split("\n");
    const { key: id, ...content } = JSON.parse(line) as NoteContent;
    const key = typeof id === "string" ? keyOf(id) : undefined;
    const given = fromHex(mac, MAC_BYTES);
    if (key === undefined || given === undefined) return "untrusted";
    return timingSafeEqual(macOf(line, { key, about }), given) ? content : "untrusted";
  } catch {
    return "untrusted";
  }
}

/**
 * Writes it anew as a whole; with `isDurable` it also outlives a power cut that comes at once. Throws `failed`.
 */
export async function writeNote(
  { file, about }: NotePlace,
  { key, content, isDurable = false }: {
    key: ProjectKeys;
    content: NoteContent;
    isDurable?: boolean | undefined;
  },
): Promise<void> {
  const line = JSON.stringify({ ...content, key: toHex(key.id) });
  await replaceNoteFile(file, `${line}\n${toHex(macOf(line, { key, about }))}\n`, { isDurable });
}

function macOf(line: string, { key, about }: { key: ProjectKeys; about: string }): Uint8Array {
  const noteKey = hkdf(sha256, key.dataKey, undefined, utf8("varve state note"), MAC_BYTES);
  return createHmac("sha256", noteKey).update(`${about}\n${line}`).digest();
}
