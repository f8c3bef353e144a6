/** What an ETag, or a checksum, proves of an object's bytes. Part of the S3 store. */

/** What an answer says beside the ETag itself, as the SDK names it. */
interface EtagContext {
  ETag?: string | undefined;
  ServerSideEncryption?: string | undefined;
  SSECustomerAlgorithm?: string | undefined;
}

interface Md5 {
  /** For `Content-MD5`. */
  base64: string;
  /** As an ETag has it. */
  hex: string;
}

/** For `x-amz-checksum-crc32`; a fiftieth of the work that an MD5 takes. `bytes` may be shared memory. */
export function crc32Of(bytes: Uint8Array): string {
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(Bun.hash.crc32(bytes));
  return sum.toString("base64");
}

/** `bytes` may be shared memory. */
export function md5Of(bytes: Uint8Array): Md5 {
  const hex = new Bun.MD5().update(bytes).digest("hex");
  return { base64: Buffer.from(hex, "hex").toString("base64"), hex };
}

/**
 * The MD5 of an object's bytes in hex, where its ETag is that. It is for an object that was put in one piece and lies
 * there plain or encrypted by a key of the store's own (`AES256`), on AWS, MinIO, Ceph, Google, Backblaze, Cloudflare,
 * Wasabi and Alibaba (in capitals) alike; not with keys of a key service or the client's, or after an upload in parts,
 * which adds `-N`; MinIO adds such an ending also where it compresses. Directory buckets of AWS (their names end in
 * `--x-s3`) have ETags of another kind.
 */
export function md5OfEtag({ ETag = "", ...context }: EtagContext, bucket: string): string | undefined {
  const { ServerSideEncryption = "", SSECustomerAlgorithm = "" } = context;
  const isKeyed = (ServerSideEncryption !== "" && ServerSideEncryption !== "AES256") ||
    SSECustomerAlgorithm !== "";
  if (isKeyed || bucket.endsWith("--x-s3")) return undefined;
  return /^"?([0-9a-f]{32})"?$/i.exec(ETag)?.[1]?.toLowerCase();
}
