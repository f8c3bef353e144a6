/**
 * The two kinds of object that are read before any key is known, `varve.json` and a project's keys, are text: one line
 * of JSON that begins with `{"varve":<version>`, and on a second line the SHA-256 of the first in hex.
 */
import { cannotRead } from "../errors.ts";
import { fromUtf8, toHex, utf8 } from "../util/bytes.ts";
import { FORMAT_VERSION, KIB } from "./limits.ts";
import { unknownVersion } from "./object.ts";

/** How much of such an object is read: what is longer is none, and is not taken into memory to find that out. */
export const CHECKED_JSON_RANGE = { offset: 0, length: 64 * KIB };

export function encodeCheckedJson(fields: Record<string, unknown>): Uint8Array {
  const line = JSON.stringify({ varve: FORMAT_VERSION, ...fields });
  return utf8(`${line}\n${sha256Hex(line)}\n`);
}

/** The fields of the object at `key`. Throws `DamageError`, or `format_version` where a varve of another format wrote it. */
export function decodeCheckedJson(bytes: Uint8Array, key: string): Record<string, unknown> {
  const damaged = (state: string) => cannotRead(key, state);
  const [line, sum, ...rest] = (fromUtf8(bytes) ?? "").split("\n");
  const version = /^\{"varve":(\d+)[,}]/.exec(line ?? "")?.[1];
  if (version === undefined) throw damaged("it was not written by varve");
  if (Number(version) !== FORMAT_VERSION) throw unknownVersion(key, version);
  if (rest.join("") !== "" || sum !== sha256Hex(line!)) {
    throw damaged("its checksum does not match");
  }
  try {
    return JSON.parse(line!) as Record<string, unknown>;
  } catch {
    throw damaged("it is not valid JSON");
  }
}

function sha256Hex(text: string): string {
  return toHex(Bun.SHA256.hash(utf8(text)) as Uint8Array);
}
