import { S3Store } from "../../../src/store/s3/s3.ts";
import { startRadosgw } from "../../kit/ceph.ts";
import { describeWith } from "../../kit/parts.ts";
import { describeContract } from "../../kit/store_contract.ts";
import { connectBucket } from "../../kit/s3_connection.ts";

describeWith(["radosgw"], "on radosgw", () => {
  describeContract("S3Store", async () => {
    const radosgw = await startRadosgw();
    return { store: new S3Store(await connectBucket(radosgw), "backups"), stop: radosgw.stop };
  });
});
