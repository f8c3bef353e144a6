/** A MinIO server for the run, and buckets in it. */
import { DeleteObjectsCommand, paginateListObjectsV2, type S3Client } from "@aws-sdk/client-s3";
import { startMinio } from "../../test/kit/minio.ts";
import { makeBucket, rootClient } from "../../test/kit/s3_server.ts";
import type { S3Place } from "./programs.ts";

export interface Buckets {
  make: () => Promise<S3Place>;
  /** Removes its objects, but for those that are to be kept. */
  remove: (place: S3Place, keep?: ReadonlySet<string>) => Promise<void>;
  stop: () => Promise<void>;
}

/** Starts MinIO; undefined, with a line that says so, where it is not installed. */
export async function startBuckets(): Promise<Buckets | undefined> {
  try {
    const { stop, ...server } = await startMinio();
    return {
      make: async () => ({ ...server, bucket: await makeBucket(rootClient(server)) }),
      remove,
      stop,
    };
  } catch (error) {
    console.error(`bench: no MinIO, so its cases are left out: ${(error as Error).message}`);
    return undefined;
  }
}

/** What a bucket holds: bytes and a mark of the content, by key. */
export async function bucketObjects(place: S3Place): Promise<Map<string, { bytes: number; etag: string }>> {
  const objects = new Map<string, { bytes: number; etag: string }>();
  for await (const { Contents = [] } of pages(rootClient(place), place.bucket)) {
    for (const { Key = "", Size = 0, ETag = "" } of Contents) objects.set(Key, { bytes: Size, etag: ETag });
  }
  return objects;
}

async function remove(place: S3Place, keep: ReadonlySet<string> = new Set()): Promise<void> {
  const client = rootClient(place);
  for await (const { Contents = [] } of pages(client, place.bucket)) {
    const Objects = Contents.flatMap(({ Key = "" }) => keep.has(Key) ? [] : { Key });
    if (Objects.length === 0) continue;
    await client.send(new DeleteObjectsCommand({ Bucket: place.bucket, Delete: { Objects, Quiet: true } }));
  }
}

function pages(client: S3Client, bucket: string) {
  return paginateListObjectsV2({ client }, { Bucket: bucket });
}
