/** What a test needs to know of a real S3 server, and how it gets a bucket there. */
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";

export interface S3Server {
  endpoint: string;
  accessKey: string;
  secretKey: string;
  /** A new, empty bucket. */
  bucket: string;
  stop: () => Promise<void>;
}

/** A client that has all rights there. */
export function rootClient({ endpoint, accessKey, secretKey }: Omit<S3Server, "bucket" | "stop">): S3Client {
  const credentials = { accessKeyId: accessKey, secretAccessKey: secretKey };
  return new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
}

/** Makes a bucket of a new name. */
export async function makeBucket(client: S3Client): Promise<string> {
  const bucket = `varve-${crypto.randomUUID()}`;
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  return bucket;
}

/** The environment from which the AWS SDK, in this process or another, takes the server and its root user. */
export function awsEnv({ endpoint, accessKey, secretKey }: S3Server): Record<string, string> {
  return { AWS_ENDPOINT_URL_S3: endpoint, AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey };
}
