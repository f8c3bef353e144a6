/**
 * The envelope that every binary object has: a header of 32 bytes, then two sealed sections. docs/format.md, "Objects".
 *
 * ```
 * offset size field
 * 0      5    "varve"
 * 5      1    format version
 * 6      1    type
 * 7      1    compression of the content: 0 none, 1 zstd
 * 8      8    id of the project key it is sealed with
 * 16     4    front section, sealed length (0: there is none)
 * 20     4    content section, sealed length
 * 24     4    content, length in plain
 * 28     4    zero
 * 32     …    front section, then content section
 * ```
 */
import { cannotRead, VarveError } from "../errors.ts";
import {
  FORMAT_VERSION,
  ID_BYTES,
  KEY_ID_BYTES,
  LEASE_ID_BYTES,
  leavesBytes,
  MAX_CHUNK_BYTES,
  MAX_DOCUMENT_BYTES,
  MAX_PAGES,
  MIB,
  PAGE_CHUNKS,
} from "./limits.ts";

export const HEADER_BYTES = 32;
const MAGIC = new Uint8Array([0x76, 0x61, 0x72, 0x76, 0x65]);

export const OBJECT_TYPE = {
  chunk: 1,
  page: 2,
  manifest: 3,
  lease: 4,
  planShard: 5,
  planHead: 6,
  hold: 7,
  patch: 8,
  mark: 9,
  forgotten: 10,
  planEnd: 11,
} as const;
export type ObjectType = (typeof OBJECT_TYPE)[keyof typeof OBJECT_TYPE];

/** What manifests name: these are read under a manifest of this version, and another version in them is damage. */
const NAMED_TYPES: ReadonlySet<ObjectType> = new Set([
  OBJECT_TYPE.chunk,
  OBJECT_TYPE.page,
  OBJECT_TYPE.patch,
]);

export const COMPRESSION = { none: 0, zstd: 1 } as const;
type Compression = (typeof COMPRESSION)[keyof typeof COMPRESSION];

/** What sealing adds to a section: a nonce and a tag (src/codec/seal.ts). */
const SEAL_BYTES = 28;
/** The longest entry of a page, a block patch. */
const MAX_ENTRY_BYTES = 1 + ID_BYTES + 2 * (ID_BYTES + LEASE_ID_BYTES);
/** The longest entry of a manifest, a page under the suffix of a lease. */
const MAX_PAGE_ENTRY_BYTES = 1 + ID_BYTES + LEASE_ID_BYTES;
/** More than what sealing adds to a section. */
const SEAL_ROOM_BYTES = 64;

/** The sections of an object, in plain. */
interface PartSizes {
  front: number;
  content: number;
}

const MAX_PIECE: PartSizes = { front: leavesBytes(MAX_CHUNK_BYTES), content: MAX_CHUNK_BYTES };
const MAX_DOCUMENT: PartSizes = { front: 0, content: MAX_DOCUMENT_BYTES };

/**
 * What an object of each type can hold. So a header that was changed, which is noticed only once the object is opened, takes
 * no memory without bounds. docs/format.md, "Objects".
 */
const MAX_PARTS: Readonly<Record<ObjectType, PartSizes>> = {
  [OBJECT_TYPE.chunk]: MAX_PIECE,
  [OBJECT_TYPE.patch]: MAX_PIECE,
  [OBJECT_TYPE.page]: { front: 0, content: 4 + PAGE_CHUNKS * MAX_ENTRY_BYTES },
  [OBJECT_TYPE.manifest]: { front: MAX_DOCUMENT_BYTES, content: 4 + MAX_PAGES * MAX_PAGE_ENTRY_BYTES },
  [OBJECT_TYPE.lease]: MAX_DOCUMENT,
  [OBJECT_TYPE.hold]: MAX_DOCUMENT,
  [OBJECT_TYPE.mark]: MAX_DOCUMENT,
  [OBJECT_TYPE.planHead]: { front: MAX_DOCUMENT_BYTES, content: 64 * MIB },
  [OBJECT_TYPE.planShard]: { front: 0, content: 256 * MIB },
  [OBJECT_TYPE.planEnd]: { front: 0, content: 0 },
  [OBJECT_TYPE.forgotten]: { front: 0, content: 64 * MIB },
};

export function maxParts(type: ObjectType): PartSizes {
  return MAX_PARTS[type];
}

/** Nobody writes an object of the type that has more bytes, so nobody reads more of one. */
export function maxObjectBytes(type: ObjectType): number {
  const { front, content } = MAX_PARTS[type];
  return HEADER_BYTES + sectionBytes(front) + SEAL_BYTES + content;
}

/** Of a front section, as it is stored. */
function sectionBytes(frontBytes: number): number {
  return frontBytes === 0 ? 0 : SEAL_BYTES + frontBytes;
}

export interface ObjectHeader {
  type: ObjectType;
  compression: Compression;
  keyId: Uint8Array;
  frontBytes: number;
  contentBytes: number;
  plainBytes: number;
}

/** Throws where the object holds more than one can. */
export function encodeHeader(header: ObjectHeader): Uint8Array {
  if (!fits(header)) {
    const sizes = `${header.frontBytes} and ${header.plainBytes} bytes`;
    throw new VarveError("failed", `Cannot write an object of ${sizes}: an object cannot be that large`);
  }
  const out = new Uint8Array(HEADER_BYTES);
  const view = new DataView(out.buffer);
  out.set(MAGIC);
  out[5] = FORMAT_VERSION;
  out[6] = header.type;
  out[7] = header.compression;
  out.set(header.keyId, 8);
  view.setUint32(16, header.frontBytes, true);
  view.setUint32(20, header.contentBytes, true);
  view.setUint32(24, header.plainBytes, true);
  return out;
}

/** What an object says to be; for `decodeHeader` to check. */
export function objectType(bytes: Uint8Array): ObjectType {
  return (bytes[6] ?? 0) as ObjectType;
}

/**
 * Reads the header of the object at `key`, which must be of the given type. Throws `DamageError` where the bytes are
 * not such a header, `format_version` where a varve of another format wrote an object that stands on its own.
 */
export function decodeHeader(bytes: Uint8Array, options: { key: string; type: ObjectType }): ObjectHeader {
  const damaged = (state: string) => cannotRead(options.key, state);
  if (bytes.length < HEADER_BYTES) throw damaged(`it has ${bytes.length} bytes, less than a header`);
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) throw damaged("it does not start like a varve object");
  if (bytes[5] !== FORMAT_VERSION) {
    if (NAMED_TYPES.has(options.type)) throw damaged(`its version ${bytes[5]} does not match its manifest`);
    throw unknownVersion(options.key, bytes[5]!);
  }
  if (bytes[6] !== options.type) throw damaged(`its type is ${bytes[6]} instead of ${options.type}`);
  const compression = bytes[7]!;
  if (compression !== COMPRESSION.none && compression !== COMPRESSION.zstd) {
    throw damaged(`its compression ${compression} is unknown`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const header: ObjectHeader = {
    type: options.type,
    compression,
    keyId: bytes.slice(8, 8 + KEY_ID_BYTES),
    frontBytes: view.getUint32(16, true),
    contentBytes: view.getUint32(20, true),
    plainBytes: view.getUint32(24, true),
  };
  if (!fits(header)) throw damaged("its header claims an impossible size");
  return header;
}

function fits({ type, frontBytes, contentBytes, plainBytes }: ObjectHeader): boolean {
  const { front, content } = MAX_PARTS[type];
  return frontBytes <= sectionBytes(front) && plainBytes <= content && contentBytes <= SEAL_BYTES + content;
}

/**
 * Whether an object of so many bytes may be what a chunk's name promises: a chunk of at most `chunkBytes`, a block patch or
 * a page. A listing tells no more of it than its size; one that was cut to nothing is told by that.
 */
export function isPossibleChunkSize(sizeBytes: number, chunkBytes: number): boolean {
  // The smallest is a page: what seals it, and at least one id, which does not compress.
  const least = HEADER_BYTES + SEAL_BYTES + ID_BYTES;
  const most = Math.max(leavesBytes(chunkBytes) + SEAL_BYTES + chunkBytes, PAGE_CHUNKS * MAX_ENTRY_BYTES);
  return sizeBytes >= least && sizeBytes <= most + HEADER_BYTES + SEAL_ROOM_BYTES;
}

/** The error for an object or repository of another format version. */
export function unknownVersion(thing: string, version: number | string): VarveError {
  const advice = Number(version) < FORMAT_VERSION
    ? "it was written before the first release; restore it with that version of varve, and create a new repository"
    : "use a newer varve";
  return new VarveError(
    "format_version",
    `Cannot read "${thing}": its format version is ${version}, but this varve supports ${FORMAT_VERSION}; ${advice}`,
  );
}
