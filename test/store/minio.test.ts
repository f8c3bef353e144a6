import { S3Store } from "../../src/store/s3.ts";
import { startMinio } from "../helpers/minio.ts";
import { describeWith } from "../helpers/parts.ts";
import { describeContract } from "./contract.ts";
import { connectBucket } from "./s3_connection.ts";

describeWith(["MinIO"], "on MinIO", () => {
  describeContract("S3Store", async () => {
    const minio = await startMinio();
    return { store: new S3Store(await connectBucket(minio)), stop: minio.stop };
  });
  describeContract("S3Store with a prefix", async () => {
    const minio = await startMinio();
    return { store: new S3Store(await connectBucket(minio), "a/prefix"), stop: minio.stop };
  });
});
