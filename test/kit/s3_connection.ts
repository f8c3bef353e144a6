/** Connects `S3Store`s of a test to a server, by the same way through the AWS settings that a user's take. */
import { S3Bucket } from "../../src/store/s3/bucket.ts";
import { connectS3 } from "../../src/store/s3/client.ts";
import type { StartTimer } from "../../src/store/progress_limit.ts";
import { awsEnv, type S3Server } from "./s3_server.ts";

/** The server's bucket. The environment is as before once this resolves; the client keeps what it has read there. */
export async function connectBucket(server: S3Server, startTimer?: StartTimer): Promise<S3Bucket> {
  return await withEnv(awsEnv(server), async () => {
    const connected = await connectS3();
    await connected.client.config.credentials();
    return new S3Bucket(server.bucket, connected, startTimer === undefined ? {} : { startTimer });
  });
}

/** Runs with these variables and without any other of AWS, so that no setting of the machine plays a part. */
export async function withEnv<T>(env: Record<string, string>, run: () => Promise<T>): Promise<T> {
  const before = Object.entries(process.env).filter(([name]) => name.startsWith("AWS_"));
  const clear = () =>
    Object.keys(process.env).filter((name) => name.startsWith("AWS_")).forEach((name) =>
      delete process.env[name]
    );
  clear();
  const nowhere = {
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
    AWS_EC2_METADATA_DISABLED: "true",
  };
  Object.assign(process.env, nowhere, env);
  try {
    return await run();
  } finally {
    clear();
    Object.assign(process.env, Object.fromEntries(before));
  }
}
