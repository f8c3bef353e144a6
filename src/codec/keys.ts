/**
 * A project's keys: 32 random bytes, the secret, from which HKDF-SHA-256 makes the keys of ids and the data key; and how the secret is wrapped for a passphrase (scrypt) or a key file. docs/format.md, "Keys".
 */
import { createCipheriv, createDecipheriv, scrypt } from "node:crypto";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { fromHex, toHex, utf8 } from "../format/bytes.ts";
import { KEY_ID_BYTES, LEAF_KEY_BYTES, SECRET_BYTES } from "../format/limits.ts";
import { collectGarbage } from "../os/garbage.ts";

export interface ProjectKey {
  /** Names the key in headers and paths; tells nothing of the secret. */
  id: Uint8Array;
  idKey: Uint8Array;
  leafKey: Uint8Array;
  pageKey: Uint8Array;
  patchKey: Uint8Array;
  dataKey: Uint8Array;
}

/** What the operator holds: nothing, a passphrase (stretched), or 32 bytes of a key file (not stretched). */
export type Secret =
  | { kind: "none" }
  | { kind: "passphrase"; passphrase: string }
  | { kind: "key"; key: Uint8Array };

/** A wrapped secret, as it stands in a project's key object; bytes in hex. */
export type WrappedSecret =
  | { kind: "none"; secret: string }
  | { kind: "passphrase"; n: number; r: number; p: number; salt: string; nonce: string; sealed: string }
  | { kind: "key"; nonce: string; sealed: string };

/** A few tenths of a second and 32 MiB: as strong as OWASP's smaller setting of scrypt, and small enough for a storage host. */
const SCRYPT = { n: 2 ** 15, r: 8, p: 3 };
/** A key object that asks for more memory than this is refused: 128 · n · r bytes; and for so many turns of it. */
const MAX_SCRYPT_BYTES = 256 * 1024 * 1024;
const MAX_SCRYPT_P = 16;
const MAX_HOLDERS = 16;
/** What scrypt takes beside that, at most. */
const SCRYPT_ROOM_BYTES = 16 * 1024 * 1024;
const NONCE_BYTES = 12, SALT_BYTES = 16, TAG_BYTES = 16;

export function deriveKeys(secret: Uint8Array): ProjectKey {
  const derive = (purpose: string, length: number) =>
    hkdf(sha256, secret, undefined, utf8(`varve 2 ${purpose}`), length);
  return {
    id: derive("key id", KEY_ID_BYTES),
    idKey: derive("chunk id", 32),
    leafKey: derive("leaf", LEAF_KEY_BYTES),
    pageKey: derive("page id", 32),
    patchKey: derive("patch id", 32),
    dataKey: derive("data", 32),
  };
}

/** Wraps a project's secret for its holder; `random(n)` gives n random bytes. */
export async function wrapSecret(
  secret: Uint8Array,
  holder: Secret,
  random: (bytes: number) => Uint8Array,
): Promise<WrappedSecret> {
  if (holder.kind === "none") return { kind: "none", secret: toHex(secret) };
  const salt = random(SALT_BYTES);
  const nonce = random(NONCE_BYTES);
  const key = holder.kind === "key" ? keyFileKey(holder.key) : await stretch(holder.passphrase, salt, SCRYPT);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(deriveKeys(secret).id);
  const sealed = toHex(Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]));
  if (holder.kind === "key") return { kind: "key", nonce: toHex(nonce), sealed };
  return { kind: "passphrase", ...SCRYPT, salt: toHex(salt), nonce: toHex(nonce), sealed };
}

/** The `holders` of a key object; `undefined` where they are not what `wrapSecret` makes, or would cost too much. */
export function readHolders(holders: unknown): WrappedSecret[] | undefined {
  if (!Array.isArray(holders) || holders.length === 0 || holders.length > MAX_HOLDERS) return undefined;
  return holders.every(isWrappedSecret) ? holders : undefined;
}

function isWrappedSecret(value: unknown): value is WrappedSecret {
  const wrapped = (value ?? {}) as Record<string, unknown>;
  const isHex = (text: unknown, bytes: number) =>
    typeof text === "string" && fromHex(text, bytes) !== undefined;
  if (wrapped.kind === "none") return isHex(wrapped.secret, SECRET_BYTES);
  const isSealed = isHex(wrapped.nonce, NONCE_BYTES) && isHex(wrapped.sealed, SECRET_BYTES + TAG_BYTES);
  if (wrapped.kind === "key") return isSealed;
  return wrapped.kind === "passphrase" && isSealed && isHex(wrapped.salt, SALT_BYTES) &&
    isScryptCost(wrapped);
}

function isScryptCost({ n, r, p }: Record<string, unknown>): boolean {
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 1;
  return isCount(n) && isCount(r) && isCount(p) && p <= MAX_SCRYPT_P && 128 * n * r <= MAX_SCRYPT_BYTES &&
    n >= 2 && Number.isInteger(Math.log2(n));
}

/** The secret, or `undefined` where the holder's passphrase or key is not the one it was wrapped for. */
export async function unwrapSecret(wrapped: WrappedSecret, holder: Secret, keyId: Uint8Array) {
  if (wrapped.kind === "none") return fromHex(wrapped.secret, SECRET_BYTES);
  const key = await unwrapKey(wrapped, holder);
  if (key === undefined) return undefined;
  const sealed = Buffer.from(wrapped.sealed, "hex");
  const cipher = createDecipheriv("aes-256-gcm", key, Buffer.from(wrapped.nonce, "hex")).setAAD(keyId);
  cipher.setAuthTag(sealed.subarray(SECRET_BYTES));
  try {
    return new Uint8Array(Buffer.concat([cipher.update(sealed.subarray(0, SECRET_BYTES)), cipher.final()]));
  } catch {
    return undefined;
  }
}

async function unwrapKey(wrapped: WrappedSecret, holder: Secret): Promise<Uint8Array | undefined> {
  if (wrapped.kind === "key") return holder.kind === "key" ? keyFileKey(holder.key) : undefined;
  if (wrapped.kind !== "passphrase" || holder.kind !== "passphrase") return undefined;
  return await stretch(holder.passphrase, new Uint8Array(Buffer.from(wrapped.salt, "hex")), wrapped);
}

function keyFileKey(key: Uint8Array): Uint8Array {
  return hkdf(sha256, key, undefined, utf8("varve 2 key file"), 32);
}

/** The runtime's: its 32 MiB are outside the heap. */
function stretch(
  passphrase: string,
  salt: Uint8Array,
  { n, r, p }: { n: number; r: number; p: number },
): Promise<Uint8Array> {
  const options = { N: n, r, p, maxmem: MAX_SCRYPT_BYTES + SCRYPT_ROOM_BYTES };
  return new Promise((resolve, reject) => {
    scrypt(utf8(passphrase.normalize("NFC")), salt, 32, options, (error, key) => {
      collectGarbage(); // else the allocator keeps what another thread has freed
      if (error) reject(error);
      else resolve(new Uint8Array(key));
    });
  });
}
