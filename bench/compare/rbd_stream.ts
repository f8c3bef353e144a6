/** Streams as `rbd export-diff` would write them for images that are plain files, made without a cluster. */
import { open } from "node:fs/promises";
import { bytes, le32, le64 } from "../../test/kit/rbd_stream.ts";

export interface Extent {
  offset: number;
  length: number;
}

export interface StreamOptions {
  to: string;
  sizeBytes: number;
  /** Without it the stream is a full one, and extents that hold zeros are left out. */
  fromSnapshot?: string;
  toSnapshot: string;
  extents: Iterable<Extent>;
}

/** Writes the extents of `image` as a stream of format v1: Ceph's docs, "RBD incremental backup" (dev/rbd-diff). */
export async function writeStream(image: string, options: StreamOptions): Promise<void> {
  const { to, sizeBytes, fromSnapshot, toSnapshot, extents } = options;
  await using file = await open(image, "r");
  const out = Bun.file(to).writer();
  out.write("rbd diff v1\n");
  if (fromSnapshot !== undefined) out.write(bytes("f", le32(fromSnapshot.length), fromSnapshot));
  out.write(bytes("t", le32(toSnapshot.length), toSnapshot, "s", le64(sizeBytes)));
  for (const { offset, length } of extents) {
    const data = Buffer.alloc(length);
    await file.read(data, 0, length, offset);
    if (fromSnapshot === undefined && data.equals(Buffer.alloc(length))) continue;
    out.write(bytes("w", le64(offset), le64(length)));
    out.write(data);
    await out.flush();
  }
  out.write("e");
  await out.end();
}
