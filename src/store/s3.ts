/** A store in an S3 bucket, under an optional prefix. Requests and their errors are in `s3_bucket.ts`. */
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { MissingError, StoreError } from "../errors.ts";
import { checkKey, checkPrefix, checkRange } from "./key.ts";
import { readBody } from "./s3_body.ts";
import type { S3Bucket } from "./s3_bucket.ts";
import { S3Deleter } from "./s3_deleter.ts";
import { answerOf } from "./s3_errors.ts";
import { S3History } from "./s3_history.ts";
import type { DeleteFailure, GetOptions, ListOptions, ObjectInfo, RequestOptions, Store } from "./store.ts";

/**
 * How often a write must be denied to be denied. MinIO also answers so, once, while another client deletes the last
 * other object of the same folder (its issue 15157 is of this kind): the end of one backup's lease must not look like
 * missing rights to the next.
 */
const PUT_DENIALS_MAX = 3;

export class S3Store implements Store {
  readonly url: string;
  readonly history: S3History;
  readonly #bucket: S3Bucket;
  readonly #root: string;
  readonly #deleter: S3Deleter;

  /** `prefix` is empty or a key; the bucket must exist. */
  constructor(bucket: S3Bucket, prefix = "") {
    if (prefix !== "") checkKey(prefix);
    this.url = `s3://${bucket.name}${prefix && `/${prefix}`}`;
    this.#bucket = bucket;
    this.#root = prefix && `${prefix}/`;
    this.#deleter = new S3Deleter(bucket);
    this.history = new S3History(bucket, { root: this.#root, deleter: this.#deleter });
  }

  get host(): string {
    return this.#bucket.host;
  }

  async get(key: string, { range, into, signal }: GetOptions = {}): Promise<Uint8Array> {
    checkRange(range);
    const path = this.#pathOf(key);
    const Range = range && `bytes=${range.offset}-${range.offset + range.length - 1}`;
    const command = new GetObjectCommand({ Bucket: this.#bucket.name, Key: path, Range });
    return await this.#bucket.request({ action: "read", path, signal }, async (options) => {
      try {
        const answer = await this.#bucket.client.send(command, options);
        return await readBody(answer, {
          url: `${this.url}/${key}`,
          range,
          into,
          signal: options.abortSignal,
          moved: options.moved,
        });
      } catch (error) {
        if (answerOf(error).status === 416) return new Uint8Array(0); // the range begins at or past the end
        if (!await this.#bucket.isAbsent(error, path, options)) throw error;
        throw new MissingError(key, `Cannot read "${this.url}/${key}": no such object`, { cause: error });
      }
    });
  }

  async put(key: string, body: Uint8Array, { signal }: RequestOptions = {}): Promise<void> {
    const path = this.#pathOf(key);
    const command = () => new PutObjectCommand({ Bucket: this.#bucket.name, Key: path, Body: body });
    await this.#bucket.request({ action: "write", path, signal }, async (options) => {
      for (let denials = 1;; denials++) {
        try {
          return await this.#bucket.client.send(command(), options);
        } catch (error) {
          if (answerOf(error).code !== "AccessDenied" || denials === PUT_DENIALS_MAX) throw error;
        }
      }
    });
  }

  async head(key: string, { signal }: RequestOptions = {}): Promise<ObjectInfo | undefined> {
    const path = this.#pathOf(key);
    const command = new HeadObjectCommand({ Bucket: this.#bucket.name, Key: path });
    return await this.#bucket.request({ action: "look up", path, signal }, async (options) => {
      try {
        const { ContentLength, LastModified } = await this.#bucket.client.send(command, options);
        return { key, sizeBytes: ContentLength ?? 0, modifiedMs: LastModified?.getTime() ?? 0 };
      } catch (error) {
        if (await this.#bucket.isAbsent(error, path, options)) return undefined;
        throw error;
      }
    });
  }

  async *list(prefix: string, { after, signal }: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    checkPrefix(prefix);
    let last = "";
    for await (
      const { Contents = [] } of this.#pages(prefix, { signal, StartAfter: after && this.#root + after })
    ) {
      for (const { Key = "", Size = 0, LastModified } of Contents) {
        signal?.throwIfAborted();
        const key = Key.slice(this.#root.length);
        if (key <= last) throw this.#unusableListing(prefix, `"${key}" comes after "${last}"`);
        last = key;
        yield { key, sizeBytes: Size, modifiedMs: LastModified?.getTime() ?? 0 };
      }
    }
  }

  async *folders(prefix: string, { signal }: RequestOptions = {}): AsyncGenerator<string> {
    checkPrefix(prefix);
    for await (const { CommonPrefixes = [] } of this.#pages(prefix, { signal, Delimiter: "/" })) {
      for (const { Prefix = "" } of CommonPrefixes) {
        signal?.throwIfAborted();
        yield Prefix.slice(this.#root.length + prefix.length, -1);
      }
    }
  }

  async delete(keys: readonly string[], { signal }: RequestOptions = {}): Promise<DeleteFailure[]> {
    const failures = await this.#deleter.delete(keys.map((key) => ({ path: this.#pathOf(key) })), signal);
    return failures.map(({ key, refused, reason }) => ({
      key: key.slice(this.#root.length),
      refused,
      reason,
    }));
  }

  async close(): Promise<void> {
    this.#bucket.client.destroy();
  }

  #pathOf(key: string): string {
    checkKey(key);
    return this.#root + key;
  }

  async *#pages(
    prefix: string,
    { signal, ...query }: RequestOptions & { StartAfter?: string | undefined; Delimiter?: string },
  ): AsyncGenerator<ListObjectsV2CommandOutput> {
    const path = this.#root + prefix;
    let ContinuationToken: string | undefined;
    for (;;) {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket.name,
        Prefix: path,
        ...query,
        ContinuationToken,
      });
      const send = { action: "list", path, signal };
      const page = await this.#bucket.request(send, (options) => this.#bucket.client.send(command, options));
      yield page;
      if (!page.IsTruncated) return;
      // A listing that ends too early would make objects in use look like garbage.
      if (!page.NextContinuationToken) {
        throw this.#unusableListing(prefix, "it is cut and says not where to go on");
      }
      ContinuationToken = page.NextContinuationToken;
    }
  }

  #unusableListing(prefix: string, what: string): StoreError {
    return new StoreError(`Cannot list "${this.url}/${prefix}": the listing is not usable: ${what}`, {
      retryable: false,
    });
  }
}
