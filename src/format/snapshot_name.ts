/** Snapshot names are bytes: in JSON a string where they are UTF-8, else `{"base64": …}`. */
import { escapeLine } from "../errors.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";

export type SnapshotJson = string | { base64: string } | null;

export function snapshotToJson(name: Uint8Array | undefined): SnapshotJson {
  if (name === undefined) return null;
  return fromUtf8(name) ?? { base64: Buffer.from(name).toString("base64") };
}

export function snapshotFromJson(json: SnapshotJson): Uint8Array | undefined {
  if (json === null) return undefined;
  return typeof json === "string" ? utf8(json) : new Uint8Array(Buffer.from(json.base64, "base64"));
}

/** For people: bytes that are not UTF-8, and control characters, as escapes. */
export function snapshotText(name: Uint8Array): string {
  return escapeLine(
    fromUtf8(name) ?? Buffer.from(name).toString("latin1").replace(/[\u0080-\u00ff]/g, escapeByte),
  );
}

function escapeByte(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
}
