import { S3Store } from "../../../src/store/s3/s3.ts";
import { startMinio } from "../../kit/minio.ts";
import { describeWith } from "../../kit/parts.ts";
import { describeContract } from "../../kit/store_contract.ts";
import { connectBucket } from "../../kit/s3_connection.ts";

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
