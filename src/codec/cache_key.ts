/** The key by which a host knows what it has written into its cache of a project: no part of the format. */
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { utf8 } from "../util/bytes.ts";
import type { ProjectKeys } from "./keys.ts";

/** 32 bytes by HKDF-SHA-256; they tell nothing of the data key that they come from. */
export function cacheKey({ dataKey }: ProjectKeys): Uint8Array {
  return hkdf(sha256, dataKey, undefined, utf8("varve cache"), 32);
}
