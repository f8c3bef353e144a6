/** `varve erase` by the built program: nothing is left in a directory, a bucket, or one that keeps versions and locks. */
import { describe, expect, test } from "bun:test";
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutObjectLegalHoldCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { existsSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import type { EraseReport } from "../../src/engine/erase/erase.ts";
import { startRadosgw } from "../kit/ceph.ts";
import { startMinio } from "../kit/minio.ts";
import { describeWith } from "../kit/parts.ts";
import {
  CHUNK_BYTES,
  expectOneLine,
  lastLineText,
  noise,
  RUN_LIMIT_MS,
  TestRepository,
} from "../kit/repository.ts";
import { awsEnv, rootClient, type S3Server } from "../kit/s3_server.ts";
import { Terminal, until } from "../kit/terminal.ts";

const CONTENT = noise(4 * CHUNK_BYTES, 1);
const PASSPHRASE = { VARVE_PASSPHRASE: "correct horse" };
/** Nobody has the passphrase any more, and the file that held it is gone. */
const LOST = { VARVE_PASSPHRASE_FILE: "/nonexistent" };
const YES = ["--yes-erase", "acme"];

/** Two projects with two points each, the one that is erased with a passphrase. */
async function makeRepository(place: { url?: string; env?: Record<string, string> } = {}) {
  const repository = await TestRepository.make({ ...place, projects: ["acme-2"] });
  await repository.json(["init", "acme"], { env: PASSPHRASE });
  for (const volume of ["acme/a", "acme/b/c"]) {
    const { stderr, code } = await repository.run(["backup", volume, "--format", "raw", "-"], {
      env: PASSPHRASE,
      stdin: CONTENT,
    });
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  }
  await repository.backUp("acme-2/a", CONTENT);
  return repository;
}

/** What every erased project leaves: nothing, and the others as they were. */
async function expectErased(repository: TestRepository): Promise<void> {
  await repository.expectIntact();
  expectOneLine(await repository.run(["list", "acme"]), { code: 4, line: "it does not exist" });
}

describe("varve erase in a directory", () => {
  test("leaves nothing of the project, here and in the cache, without its passphrase", async () => {
    const repository = await makeRepository();
    const report = await repository.json<EraseReport>(["erase", "acme", ...YES], { env: LOST });
    expect(report).toMatchObject({
      ...{ project: "acme", listed_after: 0, leases: 0 },
      ...{ volumes: ["a", "b/c"], points: 2, keys: [expect.stringMatching(/^[0-9a-f]{16}$/)] },
      repository: { url: repository.url, id: expect.stringMatching(/^[0-9a-f]{32}$/) },
      by: `${Bun.spawnSync(["id", "-un"]).stdout.toString().trim()}@${hostname()}`,
      varve: expect.stringMatching(/^\d+\.\d+\.\d+/),
      holds_overridden: [],
      deleted: { delete_markers: 0, unfinished_uploads: 0 },
      locked: { objects: 0, named: [] },
    });
    expect(report.started <= report.finished && report.not_covered.length > 0).toBe(true);
    expect(report.deleted.objects).toBe(1 + 2 + 4 + 1); // key, manifests, chunks, page
    expect(existsSync(`${repository.url}/projects/acme`)).toBe(false);
    const left = await Array.fromAsync(new Bun.Glob("*/acme/**").scan(repository.path("cache/varve")));
    expect(left).toEqual([]);
    await expectErased(repository);
    for (const json of [[], ["--json"]]) {
      expectOneLine(await repository.run(["erase", "acme", ...YES, ...json]), {
        code: 4,
        line: /^varve: Cannot erase "acme": there is no such project in ".*"; the repository has "/,
      });
    }
    await repository.remove();
  }, RUN_LIMIT_MS);

  test("deletes nothing unless the name is repeated", async () => {
    const repository = await makeRepository();
    const line = /^varve: Cannot erase "acme": /;
    expectOneLine(await repository.run(["erase", "acme"]), { code: 2, line });
    expectOneLine(await repository.run(["erase", "acme", "--yes-erase", "acme-2"]), { code: 2, line });
    expectOneLine(await repository.run(["erase", "acme/a", "--yes-erase", "acme/a"]), {
      code: 2,
      line: "as a project",
    });
    expect(existsSync(`${repository.url}/projects/acme/keys`)).toBe(true);
    await repository.remove();
  }, RUN_LIMIT_MS);

  test("asks for the name on a terminal, and takes only that for an answer", async () => {
    const repository = await makeRepository();
    for (const [answer, code] of [["no", 2], ["", 2], ["acme", 0]] as const) {
      const terminal = new Terminal("varve erase acme", { ...repository.env, ...LOST });
      await until(() => terminal.output.includes("to confirm: "));
      expect(existsSync(`${repository.url}/projects/acme/keys`)).toBe(true);
      terminal.type(`${answer}\n`);
      expect(await terminal.ended()).toEqual([code]);
    }
    const terminal = new Terminal("varve erase acme-2", repository.env);
    await until(() => terminal.output.includes("to confirm: "));
    terminal.interrupt();
    expect(await terminal.ended()).toEqual([130]);
    await expectErased(repository);
    await repository.remove();
  }, RUN_LIMIT_MS);

  test(
    "shows on a terminal what it is about to erase, and takes held points only with --even-held",
    async () => {
      const repository = await makeRepository();
      const hold = ["hold", "acme/a@latest", "--reason", "case 4711"];
      expect((await repository.run(hold, { env: PASSPHRASE })).code).toBe(0);
      const asked = new Terminal("varve erase acme", { ...repository.env, ...PASSPHRASE });
      expect(await asked.ended()).toEqual([1]);
      for (
        const text of [
          "2 volumes, 2 points, ",
          "the newest of 20",
          "volumes: a, b/c",
          "HELD: acme/a@",
          '"case 4711"',
        ]
      ) {
        expect(asked.output).toContain(text);
      }
      expect(asked.output).not.toContain("to confirm: ");
      expectOneLine(await repository.run(["erase", "acme", ...YES, "--json"], { env: LOST }), {
        code: 1,
        line:
          /^varve: Cannot erase "acme": "acme\/a@\w+-\w+" is held; release them with varve release, or use --even-held/,
      });
      const unasked = new Terminal("varve erase acme --even-held", { ...repository.env, ...PASSPHRASE });
      await until(() => unasked.output.includes("to confirm: "));
      unasked.type("no\n");
      expect(await unasked.ended()).toEqual([2]);
      expect(unasked.output).toContain("HELD: acme/a@");
      const report = await repository.json<EraseReport>(["erase", "acme", ...YES, "--even-held"], {
        env: PASSPHRASE,
      });
      expect(report).toMatchObject({
        holds_overridden: [{ point: expect.stringMatching(/^acme\/a@/), reason: "case 4711" }],
        listed_after: 0,
      });
      await expectErased(repository);
      await repository.remove();
    },
    RUN_LIMIT_MS,
  );

  test("knows that a point is held also where nobody can read why, and tells people all of it", async () => {
    const repository = await makeRepository();
    await repository.run(["hold", "acme/a@latest", "--reason", "case 4711"], { env: PASSPHRASE });
    const { code, stdout, stderr } = await repository.run(["erase", "acme", ...YES, "--even-held"], {
      env: LOST,
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(
      /^acme in ".*" \(\w{32}\)\nerased by .+@.+ with varve .+, 20.+Z to 20.+Z\n2 volumes: a, b\/c\n2 points, 1 of them held:\nHELD: acme\/a@\w+-\w+\nkeys: \w{16}\ndeleted: 9 objects .*\nlisted after: 0\nnot covered: /,
    );
    await expectErased(repository);
    await repository.remove();
  }, RUN_LIMIT_MS);

  test(
    "finishes an erasure that was ended behind the keys, and touches nothing that was made since it asked",
    async () => {
      const repository = await makeRepository();
      rmSync(`${repository.url}/projects/acme/keys`, { recursive: true });
      const terminal = new Terminal("varve erase acme", repository.env);
      await until(() => terminal.output.includes("to confirm: "));
      expect(terminal.output).toContain("its keys are gone already: an erasure was interrupted");
      const report = await repository.json<EraseReport>(["erase", "acme", ...YES]);
      expect(report).toMatchObject({ keys: [], volumes: ["a", "b/c"], points: 2, listed_after: 0 });
      await expectErased(repository);
      await repository.json(["init", "acme", "--no-encryption"]);
      await repository.backUp("acme/new", CONTENT);
      terminal.type("acme\n");
      expect(await terminal.ended()).toEqual([11]);
      expect(terminal.output).toContain("the project was created again while it was being erased");
      await repository.expectIntact();
      await repository.remove();
    },
    RUN_LIMIT_MS,
  );

  test("waits when there is a lease, and says what Ctrl-C leaves", async () => {
    const repository = await makeRepository();
    await Bun.write(`${repository.url}/projects/acme/leases/${"ab".repeat(16)}`, "x");
    const terminal = new Terminal(`varve erase acme ${YES.join(" ")}`, repository.env);
    await until(() => terminal.output.includes("waiting 11:00"));
    terminal.interrupt();
    expect(await terminal.ended()).toEqual([130]);
    expect(terminal.output).toContain('"acme" is only partly erased; run it again');
    // Nothing was left but the wait.
    expectOneLine(await repository.run(["erase", "acme", ...YES]), {
      code: 4,
      line: "there is no such project",
    });
    await expectErased(repository);
    await repository.remove();
  }, RUN_LIMIT_MS);
});

for (const [name, start] of [["MinIO", startMinio], ["radosgw", startRadosgw]] as const) {
  describeWith([name], `varve erase on ${name}`, () => describeBuckets(start));
}

function describeBuckets(start: () => Promise<S3Server>): void {
  test("leaves no object and no unfinished upload in a bucket", async () => {
    const server = await start();
    const client = rootClient(server);
    const repository = await makeRepository({ url: `s3://${server.bucket}/backups`, env: awsEnv(server) });
    const upload = { Bucket: server.bucket, Key: "backups/projects/acme/chunks/ab/left" };
    await client.send(new CreateMultipartUploadCommand(upload));
    const report = await repository.json<EraseReport>(["erase", "acme", ...YES], { env: LOST });
    expect(report).toMatchObject({ listed_after: 0, deleted: { objects: 8, unfinished_uploads: 1 } });
    await expectErased(repository);
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: server.bucket }));
    expect(Uploads).toEqual([]);
    await repository.remove();
    await server.stop();
  }, RUN_LIMIT_MS);

  test("leaves no old version, tells what a legal hold keeps, and finishes without it", async () => {
    const server = await start();
    const client = rootClient(server);
    const bucket = `varve-lock-${crypto.randomUUID()}`;
    await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: true }));
    const repository = await makeRepository({ url: `s3://${bucket}/backups`, env: awsEnv(server) });
    const held = (await versions(client, bucket)).filter(({ Key = "" }) => Key.includes("/acme/chunks/"))
      .slice(0, 2);
    const holdAll = async (Status: "ON" | "OFF") => {
      for (const { Key, VersionId } of held) {
        await client.send(
          new PutObjectLegalHoldCommand({ Bucket: bucket, Key, VersionId, LegalHold: { Status } }),
        );
      }
    };
    await holdAll("ON");
    const erased = await repository.run(["--json", "erase", "acme", ...YES], { env: LOST });
    const { code, stdout } = erased;
    expect({ code, stderr: lastLineText(erased) }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /^varve: Cannot erase all of "acme": 2 objects \([^)]+\) left, 2 under a legal hold, none can be read, because the key is deleted\n$/,
      ),
    });
    const report = JSON.parse(stdout) as EraseReport;
    expect(report).toMatchObject({
      listed_after: 4, // with the markers that hide them
      locked: { objects: 2, keys: 0, legal_holds: 2, not_locked: 0 },
    });
    expect(report.locked.named.map(({ version }) => version).toSorted()).toEqual(
      held.map(({ VersionId = "" }) => VersionId).toSorted(),
    );
    expect(report.deleted.delete_markers).toBeGreaterThan(0); // of the leases
    await expectErased(repository);
    await holdAll("OFF");
    const last = await repository.json<EraseReport>(["erase", "acme", ...YES]);
    expect(last).toMatchObject({ listed_after: 0, deleted: { objects: 2, delete_markers: 2 } });
    expect(await versions(client, bucket)).toEqual([]);
    await repository.expectIntact();
    await repository.remove();
    await server.stop();
  }, RUN_LIMIT_MS);
}

/** Versions and delete markers of project acme. */
async function versions(client: S3Client, bucket: string) {
  const { Versions = [], DeleteMarkers = [], IsTruncated } = await client.send(
    new ListObjectVersionsCommand({ Bucket: bucket, Prefix: "backups/projects/acme/" }),
  );
  expect(IsTruncated).toBeFalsy();
  return [...Versions, ...DeleteMarkers];
}
