/** Which sizes a stored chunk, patch or page can have: an object of another size is not what its name says. */
import { SEAL_BYTES, sealedBytes } from "../codec/seal.ts";
import { EntryList } from "../format/entries.ts";
import { ID_BYTES, leavesBytes } from "../format/limits.ts";
import { HEADER_BYTES } from "../format/object.ts";
import { patchFrontBytes } from "../format/patch.ts";
import { toHex } from "../util/bytes.ts";

/** Bytes that a stored object can have. */
export interface SizeRange {
  least: number;
  most: number;
}

/** Of a whole chunk of `length` bytes: at least one of content, at most all of it, not compressed. */
export function wholeSizes(length: number): SizeRange {
  return sizesOf(leavesBytes(length), length);
}

export function patchSizes(length: number): SizeRange {
  return sizesOf(patchFrontBytes(length), length);
}

/** Ids are as random bytes: nothing makes them shorter, each of them that is different. */
export function pageSizes(page: Uint8Array): SizeRange {
  const ids = new Set<string>();
  for (const { id } of EntryList.decode(page).refs()) ids.add(toHex(id));
  return { least: HEADER_BYTES + SEAL_BYTES + ids.size * ID_BYTES, most: sealedBytes(0, page.length) };
}

function sizesOf(frontBytes: number, contentBytes: number): SizeRange {
  return {
    least: HEADER_BYTES + frontBytes + 2 * SEAL_BYTES + 1,
    most: sealedBytes(frontBytes, contentBytes),
  };
}
