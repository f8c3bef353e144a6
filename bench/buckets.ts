/** A MinIO server for the run, and buckets in it. */
import { DeleteObjectsCommand, paginateListObjectsV2, type S3Client } from "@aws-sdk/client-s3";
import { startMinio } from "../test/helpers/minio.ts";
import { makeBucket, rootClient } from "../test/helpers/s3_server.ts";
import type { S3Place } from "./programs.ts";

export interface Buckets {
  make: () => Promise<S3Place>;
  /** Removes its objects. */
  remove: (place: S3Place) => Promise<void>;
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

export async function bucketBytes(place: S3Place): Promise<number> {
  let bytes = 0;
  for await (const { Contents = [] } of pages(rootClient(place), place.bucket)) {
    for (const { Size = 0 } of Contents) bytes += Size;
  }
  return bytes;
}

async function remove(place: S3Place): Promise<void> {
  const client = rootClient(place);
  for await (const { Contents = [] } of pages(client, place.bucket)) {
    const Objects = Contents.map(({ Key }) => ({ Key }));
    if (Objects.length === 0) continue;
    await client.send(new DeleteObjectsCommand({ Bucket: place.bucket, Delete: { Objects, Quiet: true } }));
  }
}

function pages(client: S3Client, bucket: string) {
  return paginateListObjectsV2({ client }, { Bucket: bucket });
}
