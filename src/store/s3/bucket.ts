/** Sends single requests to one bucket, each with a time limit without progress, and turns failures into errors. */
import type { S3Client } from "@aws-sdk/client-s3";
import { noteAllocation } from "../../os/heap.ts";
import { StoreError } from "../../errors.ts";
import { PROGRESS_LIMIT_MS, type StartTimer, withProgressLimit } from "../progress_limit.ts";
import type { ConnectedClient, Peer } from "./client.ts";
import { answerOf, s3Error } from "./errors.ts";
import type { AnswerHead, SendOptions } from "./handler.ts";

/** What the SDK leaves behind for a request, some 100 KiB, beside a task for a worker. */
const GARBAGE_OF_REQUEST = 2;

interface Attempt {
  /** Such as `read`, for the error text. */
  action: string;
  /** The object's key in the bucket, or a prefix. */
  path: string;
  /** The store's key of the one object that is to be read: a final answer may be about it alone. */
  key?: string | undefined;
  signal?: AbortSignal | undefined;
}

interface S3BucketOptions {
  limitMs?: number | undefined;
  /** `setTimeout`, replaced by tests. */
  startTimer?: StartTimer;
}

export class S3Bucket {
  readonly name: string;
  readonly client: S3Client;
  readonly #peer: Peer;
  readonly #limitMs: number;
  readonly #startTimer: StartTimer;
  /** Something has answered. */
  #isReached = false;
  #unresolved = 0;

  constructor(name: string, { client, peer }: ConnectedClient, options: S3BucketOptions = {}) {
    this.name = name;
    this.client = client;
    this.#peer = peer;
    this.#limitMs = options.limitMs ?? PROGRESS_LIMIT_MS;
    this.#startTimer = options.startTimer ?? startSystemTimer;
  }

  /** The endpoint's name and port, for people. */
  get host(): string {
    return this.#peer.host;
  }

  /** Runs one request: `run` gives `options` to `S3Client.send`, and calls `moved` for each piece it receives. */
  async request<T>(
    { action, path, key, signal }: Attempt,
    run: (options: SendOptions) => Promise<T>,
  ): Promise<T> {
    noteAllocation(GARBAGE_OF_REQUEST);
    const url = `s3://${this.name}/${path}`;
    const state = `"${this.#peer.host}" made no progress for ${this.#limitMs / 1000} s`;
    const onLimit = () => new StoreError(`Cannot ${action} "${url}": ${state}`, { retryable: true });
    const limit = { limitMs: this.#limitMs, onLimit, signal, startTimer: this.#startTimer };
    let last: AnswerHead | undefined;
    const answered = (head: AnswerHead) => {
      last = head;
      this.#isReached = true;
    };
    try {
      return await withProgressLimit(
        limit,
        (progress) => run({ abortSignal: progress.signal, moved: progress.moved, answered }),
      );
    } catch (error) {
      signal?.throwIfAborted();
      await this.#note(error);
      const unresolved = this.#isReached ? 0 : this.#unresolved;
      throw s3Error({ action, url, key, bucket: this.name, peer: this.#peer, last, unresolved }, error);
    }
  }

  /** What a failure means for the requests after it. */
  async #note(error: unknown): Promise<void> {
    const { code } = answerOf(error);
    if (code === "ENOTFOUND") this.#unresolved++;
    // Other credentials may be had by now; where they cannot, the next request says so.
    if (/^Expired/.test(code)) await this.client.config.credentials({ forceRefresh: true }).catch(() => {});
  }
}

const startSystemTimer: StartTimer = (callback, delayMs) => {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
};
