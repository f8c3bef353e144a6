/**
 * Proof that a record in the cache was written with the project's key. Needed where a wrong record would be believed: that
 * a file need not be read, that a chunk was. What has an id or a seal of its own proves itself.
 */

/** HMAC-SHA-256 of the bytes under the place's key; `purpose` keeps kinds of record apart. */
export function macOf(key: Uint8Array, purpose: string, bytes: Uint8Array): Uint8Array {
  const hmac = new Bun.CryptoHasher("sha256", Buffer.from(key));
  return new Uint8Array(hmac.update(`${purpose}\0`).update(bytes as Uint8Array<ArrayBuffer>).digest());
}
