/** A real MinIO server for a test. */
import { join } from "node:path";
import { makeBucket, rootClient, type S3Server } from "./s3_server.ts";
import { startServer } from "./servers.ts";

const UP = join(import.meta.dirname, "../../scripts/minio-up");
const DOWN = join(import.meta.dirname, "../../scripts/minio-down");

/** The run's MinIO (`VARVE_TEST_MINIO` names its env file), or one of the test's own, with a new bucket in it. */
export async function startMinio(): Promise<S3Server> {
  const { env, stop } = await startServer("VARVE_TEST_MINIO", [UP], [DOWN]);
  const [endpoint, accessKey, secretKey] = [
    env.MINIO_ENDPOINT!,
    env.MINIO_ACCESS_KEY!,
    env.MINIO_SECRET_KEY!,
  ];
  const bucket = await makeBucket(rootClient({ endpoint, accessKey, secretKey }));
  return { endpoint, accessKey, secretKey, bucket, stop };
}
