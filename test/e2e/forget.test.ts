/** A policy, holds and named points through every store, by the built program. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { ForgetRow } from "../../src/engine/retention/forget_plan.ts";
import { noise } from "../kit/engine.ts";
import { startMinio } from "../kit/minio.ts";
import { assumeRole } from "../kit/minio_session.ts";
import { describeWith } from "../kit/parts.ts";
import { awsEnv, type S3Server } from "../kit/s3_server.ts";
import { Terminal } from "../kit/terminal.ts";
import { sumOf } from "../kit/chains.ts";
import { type Place, PLACES } from "../kit/places.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";
import { fullStream } from "../kit/rbd_stream.ts";

const LIMIT_MS = 120_000;
const SIZE_BYTES = 100_000;
const SNAPSHOTS = ["s0", "s1", "s2", "s3", "s4"];

/** A point of each snapshot; their ids, oldest first. */
async function backUpAll(bench: Workbench): Promise<string[]> {
  const ids: string[] = [];
  for (const [i, snapshot] of SNAPSHOTS.entries()) {
    const stdin = fullStream(noise(i, SIZE_BYTES), snapshot);
    ids.push((await bench.json<BackupReport>(["backup", "acme/vm-1"], { stdin })).backup);
  }
  return ids;
}

async function left(bench: Workbench): Promise<string[]> {
  return (await bench.list("acme")).map(({ backup }) => backup);
}

for (const [name, parts, start] of PLACES) {
  describeWith(parts, `varve forget in ${name}`, () => {
    let place: Place;
    let bench: Workbench;
    let ids: string[];

    beforeAll(async () => {
      place = await start();
      bench = new Workbench(scratch, place.env);
      await bench.json(["init", "acme", "--no-encryption"]);
      ids = await backUpAll(bench);
    }, LIMIT_MS);
    const scratch = scratchFolder();
    afterAll(() => place?.stop(), LIMIT_MS);

    test("drops what no rule keeps, and what stays restores after a gc", async () => {
      expect((await bench.run(["hold", "acme/vm-1@s0", "--reason", "case 4711"])).code).toBe(0);
      expect((await bench.run(["show", "acme/vm-1@s0", "--field", "hold_reason"])).stdout).toBe(
        "case 4711\n",
      );
      expect((await bench.run(["list", "acme"])).stdout).toMatch(/ HELD s0\n/);

      const policy = ["forget", "acme/vm-1", "--keep-last", "1", "--keep-yearly", "3"];
      const dry = await bench.run([...policy, "--dry-run"]);
      const lines = dry.stdout.split("\n");
      expect(lines.slice(0, 6).map((line) => line.split(/ {2,}/).slice(3).join(": "))).toEqual([
        "ACTION: RULES",
        "held: held",
        "refused",
        "refused",
        "refused",
        "keep: last, yearly",
      ]);
      const refused =
        "refused: acme/vm-1: 3 of 4 restore points (not counted: 1 held) would be forgotten, more than --max-drop 50%; " +
        "use --force to forget them\n";
      const error = 'varve: Cannot forget all of "acme/vm-1": 3 expired restore points were not deleted\n';
      expect([dry.code, dry.stderr]).toEqual([1, error]);
      expect(lines.slice(6).join("\n")).toBe(
        `${refused}acme/vm-1: 0 of 5 points would be forgotten, 2 kept (1 held), 3 refused\n`,
      );
      const forced = await bench.run([...policy, "--dry-run", "--force"]);
      expect([forced.code, forced.stderr]).toEqual([0, ""]);
      expect(forced.stdout.match(/ drop$/gm)).toHaveLength(3);
      expect(forced.stdout).toEndWith(
        "acme/vm-1: 3 of 5 points would be forgotten, 2 kept (1 held)\n" +
          '"varve stats acme/vm-1" shows what each point alone would free\n',
      );
      for (const quiet of [[], ["--quiet"]]) {
        const { code, stdout, stderr } = await bench.run([...policy, ...quiet]);
        expect([code, stdout, stderr]).toEqual([1, "", refused + error]);
      }
      expect(await left(bench)).toEqual(ids);

      const project = ["forget", "acme", ...policy.slice(2)];
      const rows = await bench.json<ForgetRow[]>([...project, "--max-drop", "75%"]);
      expect(rows.map(({ backup, kept, problem }) => [backup, kept, problem])).toEqual(
        ids.map((id, i) => [id, i === 0 || i === 4, null]),
      );
      expect((await bench.run(["gc"])).code).toBe(0);
      expect(await left(bench)).toEqual([ids[0]!, ids[4]!]);
      for (const i of [0, 4]) {
        expect(await bench.restoreToPipe(`acme/vm-1@s${i}`)).toEqual(sumOf(noise(i, SIZE_BYTES)));
      }

      const held = await bench.run(["forget", "acme/vm-1@s0"]);
      expect([held.code, held.stderr]).toEqual([
        1,
        expect.stringMatching(/^varve: Cannot forget [^\n]+ it is held; [^\n]+\n$/),
      ]);
      const released = await bench.run(["release", "acme/vm-1@s0"]);
      expect([released.code, released.stderr]).toEqual([0, ""]);
      const forgotten = new Terminal("varve forget acme/vm-1@s0", bench.env);
      expect(await forgotten.ended()).toEqual([0]);
      expect(forgotten.output).toStartWith(
        'acme/vm-1@s0: 1 of 1 point forgotten, 0 kept\r\n"varve gc acme" frees what only it needed\r\n',
      );
      expect(await left(bench)).toEqual([ids[4]!]);
      expect((await place.keys()).filter((key) => /\/(leases|holds)\//.test(key))).toEqual([]);
    }, LIMIT_MS);
  });
}

describeWith(["MinIO"], "varve forget with rights that do not include deleting", () => {
  const scratch = scratchFolder();
  let minio: S3Server;
  let root: Workbench;
  let user: Workbench;

  beforeAll(async () => {
    minio = await startMinio();
    const env = { ...awsEnv(minio), VARVE_REPO: `s3://${minio.bucket}` };
    const Resource = [`arn:aws:s3:::${minio.bucket}`, `arn:aws:s3:::${minio.bucket}/*`];
    const Statement = [{
      Effect: "Allow",
      Action: ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
      Resource,
    }];
    root = new Workbench(scratch, env);
    const session = await assumeRole(minio, JSON.stringify({ Version: "2012-10-17", Statement }));
    user = new Workbench(scratch, { ...env, ...session });
    await root.json(["init", "acme", "--no-encryption"]);
  }, LIMIT_MS);
  afterAll(() => minio?.stop(), LIMIT_MS);

  test("exits with 1, says which points stay and why, and can hold but not release", async () => {
    const ids = await backUpAll(user);
    const { code, stderr } = await user.run(["forget", "acme/vm-1", "--keep-last", "3"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^refused: acme\/vm-1: AccessDenied[^\n]*\nvarve: Cannot forget all of "acme\/vm-1": 2 [^\n]+\n$/,
    );
    expect(await left(user)).toEqual(ids);
    expect((await user.run(["hold", "acme/vm-1@s0"])).code).toBe(0);
    expect((await user.run(["release", "acme/vm-1@s0"])).stderr).toMatch(
      /^varve: Cannot release [^\n]+ AccessDenied[^\n]*\n$/,
    );
    expect(await root.json<ForgetRow[]>(["forget", "acme/vm-1", "--keep-last", "3"])).toHaveLength(5);
    expect(await left(user)).toEqual([ids[0]!, ...ids.slice(2)]);
  }, LIMIT_MS);
});
