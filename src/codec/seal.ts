/**
 * Objects are sealed with AES-256-GCM, each section under a key of its own: HMAC-SHA-256(data key, part ‖ name), with a
 * random nonce and the header authenticated along. So a section cannot be moved to another name, part or header.
 * A sealed section is nonce (12) ‖ ciphertext ‖ tag (16). docs/format.md, "Objects".
 */
import { createCipheriv, createDecipheriv, randomFillSync } from "node:crypto";
import { cannotRead } from "../errors.ts";
import { utf8 } from "../util/bytes.ts";
import {
  COMPRESSION,
  decodeHeader,
  encodeHeader,
  HEADER_BYTES,
  type ObjectHeader,
  type ObjectType,
} from "../format/object.ts";
import { zstd } from "./zstd.ts";

const NONCE_BYTES = 12, TAG_BYTES = 16;
export const SEAL_BYTES = NONCE_BYTES + TAG_BYTES;
/** Ciphers hand out new buffers: pieces of this are copied and freed one by one. */
const PIECE_BYTES = 128 * 1024;
const PART = { front: 0, content: 1 } as const;

interface Cipher {
  update(data: Uint8Array): Uint8Array<ArrayBuffer>;
}

/** The data key of a project and the id that headers name it by. */
export interface SealKey {
  id: Uint8Array;
  dataKey: Uint8Array;
}

/** Names a stored object: what it is sealed under, and `key`, how errors call it. */
export interface ObjectName {
  type: ObjectType;
  name: string;
  key: string;
}

/** The most bytes that an object with so much front and content can have. */
export function sealedBytes(frontBytes: number, contentBytes: number): number {
  return HEADER_BYTES + 2 * SEAL_BYTES + frontBytes + contentBytes;
}

/**
 * Seals an object into the front of `out`, which has room for `sealedBytes`; the number of bytes written. Content that
 * zstd does not make smaller is stored as it is.
 */
export function sealInto(
  out: Uint8Array,
  object: { type: ObjectType; name: string; front?: Uint8Array; content: Uint8Array },
  key: SealKey,
): number {
  const { content, front = new Uint8Array(0) } = object;
  const frontBytes = front.length === 0 ? 0 : front.length + SEAL_BYTES;
  // Compressed to where its ciphertext will be: a piece is read before its ciphertext takes its place.
  const target = out.subarray(HEADER_BYTES + frontBytes + NONCE_BYTES);
  const room = target.subarray(0, Math.max(0, content.length - 1));
  const packed = content.length === 0 ? undefined : zstd().compress(content, room);
  const stored = packed === undefined ? content : target.subarray(0, packed);
  const header = encodeHeader({
    type: object.type,
    compression: packed === undefined ? COMPRESSION.none : COMPRESSION.zstd,
    keyId: key.id,
    frontBytes,
    contentBytes: stored.length + SEAL_BYTES,
    plainBytes: content.length,
  });
  out.set(header);
  let end = HEADER_BYTES;
  const seal = (part: number, plain: Uint8Array) => {
    const section = out.subarray(end, end + plain.length + SEAL_BYTES);
    sealSection(section, plain, { key: sectionKey(key.dataKey, part, object.name), header });
    end += section.length;
  };
  if (front.length > 0) seal(PART.front, front);
  seal(PART.content, stored);
  return end;
}

/** `sealInto` for small objects: the bytes in an array of their own. */
export function sealObject(
  object: { type: ObjectType; name: string; front?: Uint8Array; content: Uint8Array },
  key: SealKey,
): Uint8Array {
  const out = new Uint8Array(sealedBytes(object.front?.length ?? 0, object.content.length));
  return out.subarray(0, sealInto(out, object, key));
}

/** Bytes of the object up to the end of its front section: enough for `openFront`. */
export function frontEnd(header: ObjectHeader): number {
  return HEADER_BYTES + header.frontBytes;
}

/** The plaintext of the front section of `bytes`, which may be cut after it. Throws `DamageError`. */
export function openFront(bytes: Uint8Array, object: ObjectName, key: SealKey): Uint8Array {
  const header = decodeHeader(bytes, object);
  const out = new Uint8Array(Math.max(0, header.frontBytes - SEAL_BYTES));
  const section = bytes.subarray(HEADER_BYTES, frontEnd(header));
  if (section.length !== header.frontBytes || section.length < SEAL_BYTES) {
    throw cannotRead(object.key, "it is truncated");
  }
  openSection(out, section, { object, part: PART.front, header: bytes.subarray(0, HEADER_BYTES), key });
  return out;
}

/**
 * Opens the content of the object into the front of `out`; its length. `scratch` has room for the sealed content.
 * Throws `DamageError` where anything of it was changed.
 */
export function openContentInto(
  out: Uint8Array,
  bytes: Uint8Array,
  options: { object: ObjectName; key: SealKey; scratch: Uint8Array },
): number {
  const { object, key } = options;
  const header = decodeHeader(bytes, object);
  const section = bytes.subarray(frontEnd(header));
  if (section.length !== header.contentBytes || section.length < SEAL_BYTES) {
    throw cannotRead(object.key, "its length is wrong");
  }
  if (header.plainBytes > out.length) {
    throw cannotRead(object.key, `its header claims ${header.plainBytes} bytes`);
  }
  const raw = header.compression === COMPRESSION.none;
  // Seen before it is opened: the room is for as much as the header says.
  if (raw && section.length - SEAL_BYTES !== header.plainBytes) {
    throw cannotRead(object.key, "its length is wrong");
  }
  const opened = (raw ? out : options.scratch).subarray(0, section.length - SEAL_BYTES);
  openSection(opened, section, { object, part: PART.content, header: bytes.subarray(0, HEADER_BYTES), key });
  const length = raw ? opened.length : decompress(opened, out.subarray(0, header.plainBytes), object);
  if (length !== header.plainBytes) {
    throw cannotRead(object.key, "its content does not have the length in its header");
  }
  return length;
}

/** `openContentInto` for small objects. */
export function openContent(bytes: Uint8Array, object: ObjectName, key: SealKey): Uint8Array {
  const header = decodeHeader(bytes, object);
  const out = new Uint8Array(header.plainBytes);
  openContentInto(out, bytes, { object, key, scratch: new Uint8Array(bytes.length) });
  return out;
}

function decompress(frame: Uint8Array, out: Uint8Array, object: ObjectName): number {
  try {
    return zstd().decompress(frame, out);
  } catch (cause) {
    throw cannotRead(object.key, "its content cannot be decompressed", cause);
  }
}

function sectionKey(dataKey: Uint8Array, part: number, name: string): Uint8Array {
  const hmac = new Bun.CryptoHasher("sha256", Buffer.from(dataKey));
  hmac.update(new Uint8Array([part]));
  hmac.update(utf8(name));
  return new Uint8Array(hmac.digest());
}

function sealSection(
  out: Uint8Array,
  plain: Uint8Array,
  options: { key: Uint8Array; header: Uint8Array },
): void {
  const nonce = randomFillSync(new Uint8Array(NONCE_BYTES));
  const cipher = createCipheriv("aes-256-gcm", options.key, nonce).setAAD(options.header);
  out.set(nonce);
  transform(cipher, plain, out.subarray(NONCE_BYTES, NONCE_BYTES + plain.length));
  cipher.final();
  out.set(cipher.getAuthTag(), NONCE_BYTES + plain.length);
}

function openSection(
  out: Uint8Array,
  section: Uint8Array,
  options: { object: ObjectName; part: number; header: Uint8Array; key: SealKey },
): void {
  const key = sectionKey(options.key.dataKey, options.part, options.object.name);
  const end = section.length - TAG_BYTES;
  // Copied: the sections may lie in shared memory.
  const cipher = createDecipheriv("aes-256-gcm", key, section.slice(0, NONCE_BYTES)).setAAD(
    options.header.slice(),
  );
  cipher.setAuthTag(section.slice(end));
  transform(cipher, section.subarray(NONCE_BYTES, end), out);
  try {
    cipher.final();
  } catch {
    throw cannotRead(options.object.key, "it was changed, or encrypted with another key");
  }
}

function transform(cipher: Cipher, from: Uint8Array, to: Uint8Array): void {
  for (let at = 0; at < from.length; at += PIECE_BYTES) {
    const piece = cipher.update(from.subarray(at, at + PIECE_BYTES));
    to.set(piece, at);
    // Left to the garbage collector, tens of MiB would wait for it. Shorter ones might share the runtime's pool.
    if (piece.length === PIECE_BYTES) piece.buffer.transfer(0);
  }
}
