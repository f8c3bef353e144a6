/** A real one-node Ceph cluster for a test, with radosgw if wanted. */
import { join } from "node:path";
import { makeBucket, rootClient, type S3Server } from "./s3_server.ts";
import { type Server, startServer } from "./servers.ts";

const UP = join(import.meta.dirname, "../../scripts/ceph-up");
const DOWN = join(import.meta.dirname, "../../scripts/ceph-down");

/**
 * The run's cluster (`VARVE_TEST_CEPH_ENV` names its env file), or one of the test's own. `env.CEPH_CONF` is what the
 * rbd tools need; the pool is `rbd`. Images of a shared cluster should have names that no other test uses.
 */
export async function startCeph({ rgw = false } = {}): Promise<Server> {
  return await startServer("VARVE_TEST_CEPH_ENV", [UP, ...rgw ? ["--rgw"] : []], [
    DOWN,
    "--purge",
  ]);
}

/** The cluster's radosgw, with a new bucket in it. */
export async function startRadosgw(): Promise<S3Server> {
  const { env, stop } = await startCeph({ rgw: true });
  const [endpoint, accessKey, secretKey] = [env.RGW_ENDPOINT!, env.RGW_ACCESS_KEY!, env.RGW_SECRET_KEY!];
  const bucket = await makeBucket(rootClient({ endpoint, accessKey, secretKey }));
  return { endpoint, accessKey, secretKey, bucket, stop };
}
