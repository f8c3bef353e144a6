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
import { KEY_ID_BYTES } from "../format/limits.ts";
import { readNoteFile, replaceNoteFile } from "./note_file.ts";

const MAC_BYTES = 32;

export interface NotePlace {
  file: OwnPath;
  /** What the note is about; a note that was moved to another place is none. */
  about: string;
}

type NoteContent = Record<string, unknown>;

/** A note that is there and is not to be believed. */
export class UntrustedNote {
  /** The id of the key that it names, in hex, if that is not one of the project's; `undefined`: it cannot be read at all. */
  readonly keyId: string | undefined;

  constructor(keyId?: string) {
    this.keyId = keyId;
  }
}

/**
 * The note's content; `undefined` where there is none. `keysOf` gives the keys of an id in hex. Throws `failed` where something
 * else than a file of this user's is in the note's place.
 */
export async function readNote(
  { file, about }: NotePlace,
  keysOf: (id: string) => Promise<ProjectKeys | undefined>,
): Promise<NoteContent | UntrustedNote | undefined> {
  const bytes = await readNoteFile(file);
  if (bytes === undefined) return undefined;
  const [line = "", mac = ""] = (fromUtf8(bytes) ?? "").split("\n");
  const { key: id, ...content } = parse(line);
  const given = fromHex(mac, MAC_BYTES);
  if (typeof id !== "string" || fromHex(id, KEY_ID_BYTES) === undefined || given === undefined) {
    return new UntrustedNote();
  }
  const keys = await keysOf(id);
  if (keys === undefined) return new UntrustedNote(id);
  return timingSafeEqual(macOf(line, { keys, about }), given) ? content : new UntrustedNote();
}

function parse(line: string): NoteContent {
  try {
    return Object(JSON.parse(line)) as NoteContent;
  } catch {
    return {};
  }
}

/**
 * Writes it anew as a whole; with `isDurable` it also outlives a power cut that comes at once. Throws `failed`.
 */
export async function writeNote(
  { file, about }: NotePlace,
  { keys, content, isDurable = false }: {
    keys: ProjectKeys;
    content: NoteContent;
    isDurable?: boolean | undefined;
  },
): Promise<void> {
  const line = JSON.stringify({ ...content, key: toHex(keys.id) });
  await replaceNoteFile(file, `${line}\n${toHex(macOf(line, { keys, about }))}\n`, { isDurable });
}

function macOf(line: string, { keys, about }: { keys: ProjectKeys; about: string }): Uint8Array {
  const noteKey = hkdf(sha256, keys.dataKey, undefined, utf8("varve state note"), MAC_BYTES);
  return createHmac("sha256", noteKey).update(`${about}\n${line}`).digest();
}
