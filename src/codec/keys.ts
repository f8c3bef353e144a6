/**
 * A project's keys: 32 random bytes, the project's secret, from which HKDF-SHA-256, salted with the project's name, makes the
 * keys of ids and the data key; and how that secret is wrapped for a passphrase (scrypt) or a key file. docs/format.md, "Keys".
 */
import { createCipheriv, createDecipheriv, createHmac, scrypt, timingSafeEqual } from "node:crypto";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, fromHex, toHex, utf8 } from "../util/bytes.ts";
import { KEY_ID_BYTES, LEAF_KEY_BYTES, REPOSITORY_MAC_BYTES, SECRET_BYTES } from "../format/limits.ts";
import { collectGarbage } from "../os/heap.ts";

export interface ProjectKeys {
  /** Names the key in headers and paths; tells nothing of the secret. */
  id: Uint8Array;
  idKey: Uint8Array;
  leafKey: Uint8Array;
  pageKey: Uint8Array;
  patchKey: Uint8Array;
  dataKey: Uint8Array;
  /** Proves which repository a key object belongs to. */
  repositoryKey: Uint8Array;
}

/** What an operator holds: the bytes of a passphrase (stretched), or 32 bytes of a key file (not stretched). */
export type Secret =
  | { kind: "passphrase"; passphrase: Uint8Array }
  | { kind: "key-file"; key: Uint8Array };

/** How a project's secret is kept; `none`: it lies open in the store. */
export type HolderKind = Secret["kind"] | "none";

/** A wrapped secret, as it stands in a project's key object; bytes in hex. */
export type WrappedSecret =
  | { kind: "none"; secret: string }
  | { kind: "passphrase"; n: number; r: number; p: number; salt: string; nonce: string; sealed: string }
  | { kind: "key-file"; nonce: string; sealed: string };

/** What a wrapped secret belongs to: authenticated along with it. */
export interface KeyPlace {
  project: string;
  keyId: Uint8Array;
}

/**
 * Some tenths of a second and 128 MiB: whoever has a copy of the store may try passphrases for years. OWASP's strongest
 * setting of scrypt. Nobody has ever written less, so nobody takes less.
 */
const SCRYPT = { n: 2 ** 17, r: 8, p: 1 };
/** A key object that asks for more memory than this is refused: 128 · n · r bytes; and for so many turns of it. */
const MAX_SCRYPT_BYTES = 256 * 1024 * 1024;
const MAX_SCRYPT_P = 16;
const MAX_HOLDERS = 16;
/** What scrypt takes beside that, at most. */
const SCRYPT_ROOM_BYTES = 16 * 1024 * 1024;
const NONCE_BYTES = 12, SALT_BYTES = 16, TAG_BYTES = 16;

/** The keys of the project `project` whose 32 bytes of secret these are. */
export function deriveKeys(secret: Uint8Array, project: string): ProjectKeys {
  const derive = (purpose: string, length: number) =>
    hkdf(sha256, secret, utf8(project), utf8(`varve 3 ${purpose}`), length);
  return {
    id: derive("key id", KEY_ID_BYTES),
    idKey: derive("chunk id", 32),
    leafKey: derive("leaf", LEAF_KEY_BYTES),
    pageKey: derive("page id", 32),
    patchKey: derive("patch id", 32),
    dataKey: derive("data", 32),
    repositoryKey: derive("repository", 32),
  };
}

/**
 * What binds a key object to the repository whose id is `repositoryId` (32 hex digits): only the secret yields it. 32 bytes.
 */
export function repositoryMac({ repositoryKey }: ProjectKeys, repositoryId: string): Uint8Array {
  return createHmac("sha256", repositoryKey).update(repositoryId, "hex").digest();
}

/** Whether `mac` is that of the repository. */
export function isRepositoryMac(mac: Uint8Array, keys: ProjectKeys, repositoryId: string): boolean {
  return mac.length === REPOSITORY_MAC_BYTES && timingSafeEqual(mac, repositoryMac(keys, repositoryId));
}

/** Wraps the secret of a project for its holder, or for nobody; `random(n)` gives n random bytes. */
export async function wrapSecret(
  secret: Uint8Array,
  { project, holder }: { project: string; holder: Secret | undefined },
  random: (bytes: number) => Uint8Array,
): Promise<WrappedSecret> {
  if (holder === undefined) return { kind: "none", secret: toHex(secret) };
  const salt = random(SALT_BYTES);
  const nonce = random(NONCE_BYTES);
  const place = { project, keyId: deriveKeys(secret, project).id };
  const key = holder.kind === "key-file"
    ? keyFileKey(holder.key)
    : await stretch(holder.passphrase, salt, SCRYPT);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(placeBytes(place));
  const sealed = toHex(Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]));
  if (holder.kind === "key-file") return { kind: "key-file", nonce: toHex(nonce), sealed };
  return { kind: "passphrase", ...SCRYPT, salt: toHex(salt), nonce: toHex(nonce), sealed };
}

/** The id has always as many bytes: no two places have the same. */
function placeBytes({ project, keyId }: KeyPlace): Uint8Array {
  return concat([keyId, utf8(project)]);
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
  if (wrapped.kind === "key-file") return isSealed;
  return wrapped.kind === "passphrase" && isSealed && isHex(wrapped.salt, SALT_BYTES) &&
    isScryptCost(wrapped);
}

function isScryptCost({ n, r, p }: Record<string, unknown>): boolean {
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 1;
  return isCount(n) && isCount(r) && isCount(p) && p <= MAX_SCRYPT_P && 128 * n * r <= MAX_SCRYPT_BYTES &&
    n >= SCRYPT.n && r >= SCRYPT.r && Number.isInteger(Math.log2(n));
}

/** How much work it is to try one passphrase, in that of our own setting; 0 for a key file. */
export function unwrapCost(wrapped: WrappedSecret): number {
  if (wrapped.kind !== "passphrase") return 0;
  return wrapped.n * wrapped.r * wrapped.p / (SCRYPT.n * SCRYPT.r * SCRYPT.p);
}

/** The project's secret, or `undefined` where this is not the passphrase or key file, or not the place, that it was wrapped for. */
export async function unwrapSecret(
  wrapped: WrappedSecret,
  holder: Secret,
  place: KeyPlace,
): Promise<Uint8Array | undefined> {
  if (wrapped.kind === "none" || wrapped.kind !== holder.kind) return undefined;
  const key = await unwrapKey(wrapped, holder);
  const sealed = Buffer.from(wrapped.sealed, "hex");
  const cipher = createDecipheriv("aes-256-gcm", key, Buffer.from(wrapped.nonce, "hex"))
    .setAAD(placeBytes(place));
  cipher.setAuthTag(sealed.subarray(SECRET_BYTES));
  try {
    return new Uint8Array(Buffer.concat([cipher.update(sealed.subarray(0, SECRET_BYTES)), cipher.final()]));
  } catch {
    return undefined;
  }
}

/** The secret that is wrapped for nobody. */
export function openSecret(wrapped: WrappedSecret): Uint8Array | undefined {
  return wrapped.kind === "none" ? fromHex(wrapped.secret, SECRET_BYTES) : undefined;
}

async function unwrapKey(wrapped: WrappedSecret, holder: Secret): Promise<Uint8Array> {
  if (holder.kind === "key-file") return keyFileKey(holder.key);
  const { salt, ...cost } = wrapped as Extract<WrappedSecret, { kind: "passphrase" }>;
  return await stretch(holder.passphrase, new Uint8Array(Buffer.from(salt, "hex")), cost);
}

function keyFileKey(key: Uint8Array): Uint8Array {
  return hkdf(sha256, key, undefined, utf8("varve 3 key file"), 32);
}

/** The runtime's: its memory is outside the heap. */
function stretch(
  passphrase: Uint8Array,
  salt: Uint8Array,
  { n, r, p }: { n: number; r: number; p: number },
): Promise<Uint8Array> {
  const options = { N: n, r, p, maxmem: MAX_SCRYPT_BYTES + SCRYPT_ROOM_BYTES };
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, 32, options, (error, key) => {
      collectGarbage(); // else the allocator keeps what another thread has freed
      if (error) reject(error);
      else resolve(new Uint8Array(key));
    });
  });
}
