/** Sends single requests to one bucket, each with a time limit without progress, and turns failures into errors. */
import { HeadBucketCommand, ListObjectsV2Command, type S3Client } from "@aws-sdk/client-s3";
import { StoreError } from "../errors.ts";
import { countGarbage } from "../os/garbage.ts";
import { PROGRESS_LIMIT_MS, type StartTimer, withProgressLimit } from "./progress_limit.ts";
import type { ConnectedClient, SendOptions } from "./s3_client.ts";
import { answerOf, noBucketError, s3Error } from "./s3_errors.ts";

/** What the SDK leaves behind for a request, some 100 KiB, beside a task for a worker. */
const GARBAGE_OF_REQUEST = 2;

export interface Attempt {
  /** Such as `read`, for the error text. */
  action: string;
  /** The object's key in the bucket, or a prefix. */
  path: string;
  signal?: AbortSignal | undefined;
}

export interface S3BucketOptions {
  limitMs?: number | undefined;
  /** `setTimeout`, replaced by tests. */
  startTimer?: StartTimer;
}

export class S3Bucket {
  readonly name: string;
  readonly client: S3Client;
  /** The endpoint's name and port, for people. */
  readonly host: string;
  readonly #limitMs: number;
  readonly #startTimer: StartTimer;
  #seen = false;

  constructor(name: string, { client, host }: ConnectedClient, options: S3BucketOptions = {}) {
    this.name = name;
    this.client = client;
    this.host = host;
    this.#limitMs = options.limitMs ?? PROGRESS_LIMIT_MS;
    this.#startTimer = options.startTimer ?? startSystemTimer;
  }

  /** Runs one request: `run` gives `options` to `S3Client.send`, and calls `moved` for each piece it receives. */
  async request<T>({ action, path, signal }: Attempt, run: (options: SendOptions) => Promise<T>): Promise<T> {
    countGarbage(GARBAGE_OF_REQUEST);
    const url = `s3://${this.name}/${path}`;
    const state = `"${this.host}" gave no sign of progress for ${this.#limitMs / 1000} s`;
    const onLimit = () => new StoreError(`Cannot ${action} "${url}": ${state}`, { retryable: true });
    const limit = { limitMs: this.#limitMs, onLimit, signal, startTimer: this.#startTimer };
    try {
      return await withProgressLimit(
        limit,
        (progress) => run({ abortSignal: progress.signal, moved: progress.moved }),
      );
    } catch (error) {
      signal?.throwIfAborted();
      throw s3Error({ action, url, bucket: this.name, host: this.host }, error);
    }
  }

  /**
   * Whether a failed `GET` or `HEAD` of `path` says that there is definitely no such object. Two answers do not say it
   * by themselves: a 404 without a code may be a missing bucket, or no S3 server at all; and a 403 is also what S3
   * answers for a missing object to those whose right to list has a condition, to whom the listing itself tells.
   */
  async isAbsent(error: unknown, path: string, options: SendOptions): Promise<boolean> {
    const { status, code } = answerOf(error);
    if (code === "NoSuchKey") return true;
    if (status === 403) return await this.#isUnlisted(path, options);
    return status === 404 && code !== "NoSuchBucket" && await this.#exists(options);
  }

  async #isUnlisted(path: string, options: SendOptions): Promise<boolean> {
    try {
      const command = new ListObjectsV2Command({ Bucket: this.name, Prefix: path, MaxKeys: 1 });
      const { KeyCount, Contents = [] } = await this.client.send(command, options);
      return KeyCount !== undefined && Contents[0]?.Key !== path;
    } catch (error) {
      if (answerOf(error).status === 403) return false;
      throw error;
    }
  }

  async #exists(options: SendOptions): Promise<boolean> {
    if (this.#seen) return true;
    try {
      await this.client.send(new HeadBucketCommand({ Bucket: this.name }), options);
    } catch (error) {
      const { status } = answerOf(error);
      if (status === 404) throw noBucketError(this.name, this.host);
      if (status !== 403) throw error; // a 403 tells that the bucket is there
    }
    return this.#seen = true;
  }
}

const startSystemTimer: StartTimer = (callback, delayMs) => {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
};
