/** Deletes in batches, and one by one where a gateway does not know batches. Part of the S3 store. */
import { DeleteObjectCommand, DeleteObjectsCommand } from "@aws-sdk/client-s3";
import type { S3Bucket } from "./s3_bucket.ts";
import type { SendOptions } from "./s3_client.ts";
import { answerOf } from "./s3_errors.ts";
import type { DeleteFailure } from "./store.ts";

/** What to delete: a key's current state, or one version or delete marker of it. */
export interface S3Item {
  path: string;
  versionId?: string | undefined;
}

/** `versionId` as the item had it. */
export interface S3Failure extends DeleteFailure {
  versionId: string | undefined;
}

/** Keys in one `DeleteObjects`: the limit of S3. */
const BATCH_MAX = 1000;
/** Single deletes under way at the same time, where there are no batches. */
const SINGLE_WINDOW = 16;
/** Answers of gateways that do not know `DeleteObjects`, or not as it is sent. */
const NOT_SUPPORTED = [400, 405, 501];
/** Codes of a key that may be deleted later; any other means that rights or a lock forbid it. */
const PASSING = ["InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted"];

export class S3Deleter {
  readonly #bucket: S3Bucket;
  #batches = true;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  /** Resolves to those that remain. */
  async delete(items: readonly S3Item[], signal: AbortSignal | undefined): Promise<S3Failure[]> {
    const failures: S3Failure[] = [];
    for (let at = 0; at < items.length; at += BATCH_MAX) {
      failures.push(...await this.#deleteBatch(items.slice(at, at + BATCH_MAX), signal));
    }
    return failures;
  }

  async #deleteBatch(items: S3Item[], signal: AbortSignal | undefined): Promise<S3Failure[]> {
    if (!this.#batches) return await this.#deleteSingly(items, signal);
    const first = items[0]!.path;
    const attempt = {
      action: "delete",
      path: items.length === 1 ? first : `${first} and ${items.length - 1} more`,
      signal,
    };
    const failures = await this.#bucket.request(attempt, (options) => this.#send(items, options));
    if (failures !== undefined) return failures;
    this.#batches = false;
    return await this.#deleteSingly(items, signal);
  }

  /** `undefined` where the gateway does not know batches. */
  async #send(items: S3Item[], options: SendOptions): Promise<S3Failure[] | undefined> {
    const Objects = items.map(({ path, versionId }) => ({ Key: path, VersionId: versionId }));
    const Delete = { Quiet: true, Objects };
    // Some checksum is obligatory here, and MD5 is the one that servers of any age accept.
    const command = new DeleteObjectsCommand({ Bucket: this.#bucket.name, ChecksumAlgorithm: "MD5", Delete });
    try {
      const { Errors = [] } = await this.#bucket.client.send(command, options);
      return Errors.map(({ Key: path = "", VersionId: versionId, Code = "", Message }) =>
        failureOf({ path, versionId }, Code, Message)
      );
    } catch (error) {
      const { status, code } = answerOf(error);
      if (code === "AccessDenied") return items.map((item) => failureOf(item, code));
      if (status !== undefined && NOT_SUPPORTED.includes(status)) return undefined;
      throw error;
    }
  }

  async #deleteSingly(items: S3Item[], signal: AbortSignal | undefined): Promise<S3Failure[]> {
    const failures: (S3Failure | undefined)[] = [];
    for (let at = 0; at < items.length; at += SINGLE_WINDOW) {
      const window = items.slice(at, at + SINGLE_WINDOW);
      failures.push(...await Promise.all(window.map((item) => this.#deleteOne(item, signal))));
    }
    return failures.filter((failure) => failure !== undefined);
  }

  async #deleteOne(
    { path, versionId }: S3Item,
    signal: AbortSignal | undefined,
  ): Promise<S3Failure | undefined> {
    const command = new DeleteObjectCommand({ Bucket: this.#bucket.name, Key: path, VersionId: versionId });
    return await this.#bucket.request({ action: "delete", path, signal }, async (options) => {
      try {
        await this.#bucket.client.send(command, options);
      } catch (error) {
        const { code } = answerOf(error);
        if (code === "AccessDenied") return failureOf({ path, versionId }, code);
        if (code !== "NoSuchKey") throw error;
      }
    });
  }
}

function failureOf({ path, versionId }: S3Item, code: string, message = ""): S3Failure {
  const reason = message === "" || message === code ? code : `${code}: ${message}`;
  return { key: path, versionId, refused: !PASSING.includes(code), reason: reason || "no reason given" };
}
