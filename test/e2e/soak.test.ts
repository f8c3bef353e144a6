/**
 * Years of nights in a minute: the built program backs up, restores, forgets and collects garbage in one project on real
 * servers, from several processes at once, some of which are killed. `VARVE_SOAK_S` makes it longer, `VARVE_SOAK_SEED`
 * draws other moments.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BackupInfo } from "../../src/project/catalog.ts";
import type { VerifyReport } from "../../src/engine/verify/verify.ts";
import { projectPrefix } from "../../src/format/layout.ts";
import { S3Store } from "../../src/store/s3/s3.ts";
import { startRadosgw } from "../kit/ceph.ts";
import { startMinio } from "../kit/minio.ts";
import { describeWith } from "../kit/parts.ts";
import { awsEnv, type S3Server } from "../kit/s3_server.ts";
import { PROJECT, Soak, VOLUMES } from "../kit/soak.ts";
import { varveJson } from "../kit/varve.ts";
import { connectBucket } from "../kit/s3_connection.ts";

const DURATION_MS = Number(process.env.VARVE_SOAK_S ?? 25) * 1000;
const SEED = Number(process.env.VARVE_SOAK_SEED ?? 20_261);
const HOST = { host: "check" };
/**
 * Quiet collections after which nothing that no point needs may be left: one that completes what others have begun, one for
 * what a sweep spared and no point needs by now (garbage again once the plan that condemned it is over), and one to look.
 */
const QUIET_GCS = 3;
/** What the last gc remembers of the points, and what a forget took that still ran beside others. */
const RECORDS = ["forgotten", "gc"];

setDefaultTimeout(DURATION_MS + 300_000);

const SERVERS: [part: string, start: () => Promise<S3Server>][] = [
  ["MinIO", startMinio],
  ["radosgw", startRadosgw],
];

for (const [part, start] of SERVERS) {
  describeWith([part], `a project on ${part} that many work on (seed ${SEED})`, () => {
    let server: S3Server;
    let store: S3Store;
    let folder: string;
    let soak: Soak;

    beforeAll(async () => {
      server = await start();
      store = new S3Store(await connectBucket(server));
      folder = await mkdtemp(join(tmpdir(), "varve-soak-"));
      const env = { ...awsEnv(server), VARVE_REPO: `s3://${server.bucket}` };
      await varveJson(["init", "acme", "--no-encryption", "--chunk-size", "64K"], { env });
      soak = new Soak({ seed: SEED, env, folder, store });
    });
    afterAll(async () => {
      await store?.close();
      await server?.stop();
      await rm(folder, { recursive: true, force: true });
    });

    const objects = async () => {
      const prefix = projectPrefix(PROJECT);
      const names: string[] = [];
      for await (const { key } of store.list(prefix)) names.push(key.slice(prefix.length));
      return names;
    };
    const folders = async () => {
      const names = new Set((await objects()).map((name) => name.slice(0, name.indexOf("/"))));
      return [...names].filter((name) => !RECORDS.includes(name));
    };
    const listed = async (): Promise<BackupInfo[]> =>
      (await Promise.all(VOLUMES.map((v) => soak.list(v)))).flat();
    const gcQuietly = async () => {
      for (let i = 1; i < QUIET_GCS; i++) {
        await soak.gc();
        await soak.removeEndedPlans();
      }
      return await soak.gc();
    };

    test("keeps every point that is listed, and nothing else", async () => {
      await soak.run(DURATION_MS);
      await soak.lastRequests();
      await soak.removeDeadLeases();
      expect(await gcQuietly()).toMatchObject({ garbage: 0, plans_waiting: [], refused: [] });
      expect(await folders()).toEqual(["chunks", "keys", "volumes"]);
      for (const volume of VOLUMES) {
        const points = await soak.list(volume);
        const ids = points.map(({ backup }) => backup);
        expect(ids).toEqual(expect.arrayContaining(soak.newestKnown(volume, points)));
        for (const point of points) await soak.expectContent(point);
      }
      expect(await soak.json<VerifyReport>(["verify", PROJECT], HOST)).toMatchObject({ findings: [] });
      console.log(`soak on ${part}, ${DURATION_MS / 1000} s: ${JSON.stringify(soak.counts)}`);
    });

    test("is empty when every point is forgotten", async () => {
      for (const { volume, backup } of await listed()) {
        await soak.json(["forget", `${PROJECT}/${volume}@${backup}`], HOST);
      }
      await gcQuietly();
      expect(await folders()).toEqual(["keys"]);
    });
  });
}
