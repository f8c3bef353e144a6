/** Where a repository can be: a directory, a bucket of a real MinIO, a bucket of a real radosgw. */
import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { startRadosgw } from "./ceph.ts";
import { startMinio } from "./minio.ts";
import { awsEnv, rootClient, type S3Server } from "./s3_server.ts";

export interface Place {
  /** What tells the program of it. */
  env: Record<string, string>;
  /** The keys of all objects, in no order. */
  keys: () => Promise<string[]>;
  stop: () => Promise<void>;
}

/** Each by its name, with the parts that it needs. */
export const PLACES: [name: string, parts: string[], start: () => Promise<Place>][] = [
  ["a directory", [], startDirectory],
  ["MinIO", ["MinIO"], async () => bucketPlace(await startMinio())],
  ["radosgw", ["radosgw"], async () => bucketPlace(await startRadosgw())],
];

async function startDirectory(): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), "varve-test-"));
  const keys = async () => {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    return files.map(({ parentPath, name }) => relative(folder, join(parentPath, name)));
  };
  return { env: { VARVE_REPO: folder }, keys, stop: () => rm(folder, { recursive: true }) };
}

function bucketPlace(server: S3Server): Place {
  const prefix = "backups/ceph/";
  const env = { ...awsEnv(server), VARVE_REPO: `s3://${server.bucket}/${prefix}` };
  const client = rootClient(server);
  /** In one answer: a test has fewer than a thousand objects. */
  const keys = async () => {
    const { Contents = [], IsTruncated } = await client.send(
      new ListObjectsV2Command({ Bucket: server.bucket }),
    );
    if (IsTruncated) throw new Error("more objects than one answer lists");
    return Contents.map(({ Key = "" }) => {
      if (!Key.startsWith(prefix)) throw new Error(`"${Key}" is outside of the repository`);
      return Key.slice(prefix.length);
    });
  };
  return { env, keys, stop: server.stop };
}
