/**
 * Six hosts and a store that errs: MinIO behind a proxy of whose answers one in so many is wrong. Whatever a command is told,
 * a point that was reported as stored is there in the end, and restores byte for byte. `VARVE_LIAR_S` makes it longer,
 * `VARVE_LIAR_SEED` draws other lies.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { S3Store } from "../../src/store/s3/s3.ts";
import { FaultyS3 } from "../kit/faulty_s3.ts";
import { letLie } from "../kit/lying_s3.ts";
import { startMinio } from "../kit/minio.ts";
import { describeWith } from "../kit/parts.ts";
import { awsEnv, type S3Server } from "../kit/s3_server.ts";
import { PROJECT, Soak, VOLUMES } from "../kit/soak.ts";
import { varveJson } from "../kit/varve.ts";
import { connectBucket } from "../kit/s3_connection.ts";

const DURATION_MS = Number(process.env.VARVE_LIAR_S ?? 20) * 1000;
const SEED = Number(process.env.VARVE_LIAR_SEED ?? 20_261);
const ONE_IN = 40;

setDefaultTimeout(DURATION_MS + 400_000);

describeWith(["MinIO"], `a project on a MinIO that errs, and six hosts (seed ${SEED})`, () => {
  let server: S3Server;
  let proxy: FaultyS3;
  let store: S3Store;
  let folder: string;
  let soak: Soak;

  beforeAll(async () => {
    server = await startMinio();
    proxy = await FaultyS3.start(server);
    store = new S3Store(await connectBucket(server));
    folder = await mkdtemp(join(tmpdir(), "varve-liar-"));
    const env = {
      ...awsEnv({ ...server, endpoint: proxy.endpoint }),
      VARVE_REPO: `s3://${server.bucket}`,
      VARVE_RETRY_FOR: "20s",
    };
    await varveJson(["init", "acme", "--no-encryption", "--chunk-size", "64K"], { env });
    soak = new Soak({ seed: SEED, env, folder, store, mayGiveUp: true });
  });
  afterAll(async () => {
    proxy?.goAway();
    await store?.close();
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("loses no point that was reported, and restores no wrong byte", async () => {
    await soak.begin();
    const lies = letLie(proxy, { seed: SEED, oneIn: ONE_IN });
    await soak.run(DURATION_MS);
    proxy.reset();
    await soak.lastRequests();
    await soak.removeDeadLeases();
    for (const volume of VOLUMES) {
      const points = await soak.list(volume);
      const ids = points.map(({ backup }) => backup);
      expect(ids).toEqual(expect.arrayContaining(soak.reported(volume)));
      for (const point of points) await soak.expectContent(point);
    }
    await soak.gc();
    for (const volume of VOLUMES) {
      for (const point of await soak.list(volume)) await soak.expectContent(point);
    }
    expect(await soak.json(["verify", PROJECT], { host: "check" })).toMatchObject({ findings: [] });
    const total = Object.values(lies.told).reduce((sum, count) => sum + count, 0);
    expect(total).toBeGreaterThan(0);
    console.log(
      `${DURATION_MS / 1000} s: ${total} lies ${JSON.stringify(lies.told)}, ${JSON.stringify(soak.counts)}`,
    );
  });
});
