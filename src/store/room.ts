/** Where the bytes of a `get` go. */

/** Room for `length` bytes: the front of what the caller gave, where they fit, or a new array. */
export function roomFor(length: number, into: Uint8Array | undefined): Uint8Array {
  return into !== undefined && length <= into.length ? into.subarray(0, length) : new Uint8Array(length);
}
