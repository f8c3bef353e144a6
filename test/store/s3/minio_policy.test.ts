/** The policy in examples/, on a real MinIO: a user who may work in one project, and gets a clear error elsewhere. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { MissingError, StoreError } from "../../../src/errors.ts";
import { openStore } from "../../../src/store/open.ts";
import type { Store } from "../../../src/store/store.ts";
import { startMinio } from "../../kit/minio.ts";
import { assumeRole } from "../../kit/minio_session.ts";
import { describeWith } from "../../kit/parts.ts";
import { awsEnv, type S3Server } from "../../kit/s3_server.ts";
import { rejection } from "../../kit/rejection.ts";
import { bytes, keysOf } from "../../kit/store_contract.ts";
import { withEnv } from "../../kit/s3_connection.ts";

describeWith(["MinIO"], "a MinIO user with the policy of examples/minio-policy.json", () => {
  let minio: S3Server;
  let root: Store;
  let user: Store;

  /** Opens the bucket as a user does; the first request reads the keys from the environment. */
  const openAs = (keys: Record<string, string>) =>
    withEnv({ ...awsEnv(minio), ...keys }, async () => {
      const store = await openStore(`s3://${minio.bucket}`, { onRetry: (line) => expect(line).toBe("") });
      await store.get("varve.json").catch(() => {});
      return store;
    });

  beforeAll(async () => {
    minio = await startMinio();
    const policy = await Bun.file(join(import.meta.dirname, "../../../examples/minio-policy.json")).text();
    root = await openAs({});
    for (const key of ["varve.json", "projects/acme/key", "projects/other/key"]) {
      await root.put(key, bytes("x"));
    }
    user = await openAs({
      ...await assumeRole(minio, policy.replaceAll(":::backups", `:::${minio.bucket}`)),
    });
  });
  afterAll(() => minio?.stop());

  test("works in project acme", async () => {
    await user.put("projects/acme/chunks/ab/1", bytes("chunk"));
    expect(await user.get("projects/acme/chunks/ab/1")).toEqual(bytes("chunk"));
    expect((await user.head("projects/acme/chunks/ab/1"))?.sizeBytes).toBe(5);
    expect(await keysOf(user, "projects/acme/")).toEqual(["projects/acme/chunks/ab/1", "projects/acme/key"]);
    expect(await Array.fromAsync(user.folders("projects/acme/"))).toEqual(["chunks"]);
    expect(await user.delete(["projects/acme/chunks/ab/1"])).toEqual([]);
    expect(await keysOf(user, "projects/acme/chunks/")).toEqual([]);
  });
  test("reads varve.json and tells missing objects from denied ones in acme", async () => {
    expect(await user.get("varve.json")).toEqual(bytes("x"));
    expect(await user.head("projects/acme/none")).toBeUndefined();
    expect(await rejection(user.get("projects/acme/none"))).toBeInstanceOf(MissingError);
  });
  test("gets an error that names key and reason everywhere else", async () => {
    const url = (key: string) => `"s3://${minio.bucket}/${key}"`;
    const message = async (promise: Promise<unknown>) => (await rejection(promise) as StoreError).message;
    const denied = "access denied (403 AccessDenied)";
    expect(await message(user.get("projects/other/key"))).toBe(
      `Cannot read ${url("projects/other/key")}: ${denied}`,
    );
    expect(await message(user.head("projects/other/key"))).toBe(
      `Cannot look up ${url("projects/other/key")}: ${denied}`,
    );
    expect(await message(user.put("projects/other/a", bytes("y")))).toBe(
      `Cannot write ${url("projects/other/a")}: ${denied}`,
    );
    expect(await message(user.put("varve.json", bytes("y")))).toBe(
      `Cannot write ${url("varve.json")}: ${denied}`,
    );
    expect(await message(keysOf(user, "projects/other/"))).toBe(
      `Cannot list ${url("projects/other/")}: ${denied}`,
    );
    expect(await message(Array.fromAsync(user.folders("projects/")))).toBe(
      `Cannot list ${url("projects/")}: ${denied}`,
    );
    expect(await user.delete(["projects/other/key", "varve.json"])).toMatchObject([
      { key: "projects/other/key", refused: true },
      { key: "varve.json", refused: true },
    ]);
    expect(await root.get("projects/other/key")).toEqual(bytes("x"));
    expect(await root.get("varve.json")).toEqual(bytes("x"));
  });
  test("gets an error that says so when the secret is wrong or the bucket does not exist", async () => {
    const stranger = await openAs({ AWS_SECRET_ACCESS_KEY: "wrong" });
    const error = await rejection(stranger.put("a", bytes("x")));
    expect((error as Error).message).toContain("the secret access key is wrong (403 SignatureDoesNotMatch)");
    const bucket = minio.bucket;
    minio.bucket = "no-such-bucket";
    const lost = await openAs({});
    minio.bucket = bucket;
    const failures = [lost.get("a"), lost.head("a"), lost.put("a", bytes("x")), keysOf(lost, "")].map(
      rejection,
    );
    for (const error of await Promise.all(failures)) {
      expect(error).not.toBeInstanceOf(MissingError);
      expect((error as Error).message).toContain('bucket "no-such-bucket" does not exist');
    }
  });
});
