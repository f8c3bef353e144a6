/** Deletes in batches, and one by one where a gateway does not know batches. Part of the S3 store. */
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  type DeleteObjectsCommandOutput,
} from "@aws-sdk/client-s3";
import { AnswerError } from "./answers.ts";
import type { S3Bucket } from "./bucket.ts";
import { answerOf } from "./errors.ts";
import { expecting, type SendOptions } from "./handler.ts";
import { mayPass } from "./passing.ts";
import type { DeleteFailure } from "../store.ts";

/** What to delete: a key's current state, or one version or delete marker of it. */
interface S3Item {
  path: string;
  versionId?: string | undefined;
}

/** `versionId` as the item had it. */
interface S3Failure extends DeleteFailure {
  versionId: string | undefined;
}

/** Keys in one `DeleteObjects`: the limit of S3. */
const BATCH_MAX = 1000;
/** Single deletes under way at the same time, where there are no batches. */
const SINGLE_WINDOW = 16;
/** Answers of gateways that do not know `DeleteObjects`, or not as it is sent. */
const NOT_SUPPORTED = [400, 405, 501];
/** Codes of a key that is not there. */
const ABSENT = ["NoSuchKey", "NoSuchVersion"];
const BATCH_ANSWER = { root: "DeleteResult" };
const DELETED = { statuses: [200, 204] };

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
    // Not quiet: a key that the answer does not name may still be there.
    const Delete = { Quiet: false, Objects };
    // Some checksum is obligatory here, and MD5 is the one that servers of any age accept.
    const command = new DeleteObjectsCommand({ Bucket: this.#bucket.name, ChecksumAlgorithm: "MD5", Delete });
    try {
      return failuresOf(
        items,
        await this.#bucket.client.send(command, expecting(options, BATCH_ANSWER)),
      );
    } catch (error) {
      const { status, code } = answerOf(error);
      if (code === "AccessDenied") return items.map((item) => failureOf(item, code));
      if (mayPass({ status, code })) throw error;
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
        await this.#bucket.client.send(command, expecting(options, DELETED));
      } catch (error) {
        const { code } = answerOf(error);
        if (code === "AccessDenied") return failureOf({ path, versionId }, code);
        if (!ABSENT.includes(code)) throw error;
      }
    });
  }
}

/** Every item has to be in one of the two lists; those in neither may still be there, and are to be tried again. */
function failuresOf(
  items: readonly S3Item[],
  { Deleted = [], Errors = [] }: DeleteObjectsCommandOutput,
): S3Failure[] {
  const failures = Errors.filter(({ Code = "" }) => !ABSENT.includes(Code));
  const asked = new Set(items.map(({ path }) => path));
  const unnamed = new Map(items.map((item) => [nameOf(item), item]));
  for (const { Key: path = "", VersionId: versionId } of [...Deleted, ...Errors]) {
    if (!asked.has(path)) throw new AnswerError(`it names "${path}", which was not in the request`);
    unnamed.delete(nameOf({ path, versionId }));
  }
  if (unnamed.size === items.length) throw new AnswerError("it does not confirm any deletion");
  return [
    ...failures.map(({ Key: path = "", VersionId: versionId, Code = "", Message }) =>
      failureOf({ path, versionId }, Code, Message)
    ),
    ...Array.from(unnamed.values(), (item) => ({
      key: item.path,
      versionId: item.versionId,
      refused: false,
      reason: "the answer does not mention it",
    })),
  ];
}

/** A version without an id is called `null`, and some servers leave that out; no key has two of these. */
function nameOf({ path, versionId = "null" }: S3Item): string {
  return `${path} ${versionId || "null"}`;
}

function failureOf({ path, versionId }: S3Item, code: string, message = ""): S3Failure {
  const reason = message === "" || message === code ? code : `${code}: ${message}`;
  const refused = !mayPass({ status: undefined, code });
  return { key: path, versionId, refused, reason: reason || "no reason given" };
}
