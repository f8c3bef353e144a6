/**
 * A store in an S3 bucket, under an optional prefix. Requests and their errors are in `s3_bucket.ts`; docs/stores.md has
 * the list of what each answer must have to count.
 */
import {
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
  type PutObjectCommandOutput,
} from "@aws-sdk/client-s3";
import { MissingError } from "../../errors.ts";
import { assertPrefix, assertRange, checkKey } from "../key.ts";
import { AnswerError, OtherBytesError } from "./answers.ts";
import { readBody } from "./body.ts";
import type { S3Bucket } from "./bucket.ts";
import { S3Deleter } from "./deleter.ts";
import { answerOf } from "./errors.ts";
import { crc32Of, md5Of, md5OfEtag } from "./etag.ts";
import { expecting, type SendOptions } from "./handler.ts";
import { S3Versions } from "./versions.ts";
import {
  assertCount,
  assertEcho,
  assertObject,
  assertOrder,
  isSize,
  isTime,
  nextOf,
  type PageRequest,
} from "./listing.ts";
import { mayPass } from "./passing.ts";
import type {
  DeleteFailure,
  GetOptions,
  ListOptions,
  ObjectInfo,
  PutOptions,
  RequestOptions,
  Store,
} from "../store.ts";

/** Gateways that answer a write with "Created" have written it, too. */
const WRITTEN = { statuses: [200, 201] };
const LISTED = { root: "ListBucketResult" };
/** Pages in a row that have no entry and are not the last: a server may skip what was deleted, not go on for ever. */
const EMPTY_PAGES_MAX = 100;

/**
 * How often a write must be denied to be denied. MinIO also answers so, once, while another client deletes the last
 * other object of the same folder (its issue 15157 is of this kind): the end of one backup's lease must not look like
 * missing rights to the next.
 */
const PUT_DENIALS_MAX = 3;

export class S3Store implements Store {
  readonly url: string;
  readonly history: S3Versions;
  readonly #bucket: S3Bucket;
  readonly #root: string;
  readonly #deleter: S3Deleter;
  /** Until the store refuses a write that says it. */
  #takesCrc32 = true;

  /** `prefix` is empty or a key; the bucket must exist. */
  constructor(bucket: S3Bucket, prefix = "") {
    if (prefix !== "") checkKey(prefix);
    this.url = `s3://${bucket.name}${prefix && `/${prefix}`}`;
    this.#bucket = bucket;
    this.#root = prefix && `${prefix}/`;
    this.#deleter = new S3Deleter(bucket);
    this.history = new S3Versions(bucket, { root: this.#root, deleter: this.#deleter });
  }

  get host(): string {
    return this.#bucket.host;
  }

  async get(key: string, { range, into, signal }: GetOptions = {}): Promise<Uint8Array> {
    assertRange(range);
    const path = this.#pathOf(key);
    return await this.#bucket.request({ action: "read", path, key, signal }, async (options) => {
      try {
        return await this.#read(path, { range, into }, options);
      } catch (error) {
        if (!await this.#isAbsent(error, path, options)) throw error;
        throw new MissingError(key, `Cannot read "${this.url}/${key}": no such object`, { cause: error });
      }
    });
  }

  async put(key: string, body: Uint8Array, { signal, ifAbsent = false }: PutOptions = {}): Promise<void> {
    const path = this.#pathOf(key);
    const command = (isCrc32: boolean, isConditional: boolean) => {
      const sum = isCrc32 ? { ChecksumCRC32: crc32Of(body) } : { ContentMD5: md5Of(body).base64 };
      const condition = isConditional ? { IfNoneMatch: "*" } : {};
      return new PutObjectCommand({ Bucket: this.#bucket.name, Key: path, Body: body, ...sum, ...condition });
    };
    let isConditional = ifAbsent;
    await this.#bucket.request({ action: "write", path, signal }, async (options) => {
      for (let denials = 1;; denials++) {
        const isCrc32 = this.#takesCrc32;
        try {
          const sent = command(isCrc32, isConditional);
          const answer = await this.#bucket.client.send(sent, expecting(options, WRITTEN));
          return this.#assertWritten(answer, body);
        } catch (error) {
          if (isConditional && answerOf(error).code === "PreconditionFailed") return;
          if (isCrc32 && mayBeOfHeader(error)) {
            this.#takesCrc32 = false;
            continue;
          }
          if (isConditional && mayBeOfHeader(error)) {
            isConditional = false;
            continue;
          }
          if (answerOf(error).code !== "AccessDenied" || denials === PUT_DENIALS_MAX) throw error;
        }
      }
    });
  }

  async head(key: string, { signal }: RequestOptions = {}): Promise<ObjectInfo | undefined> {
    const path = this.#pathOf(key);
    const command = new HeadObjectCommand({ Bucket: this.#bucket.name, Key: path });
    return await this.#bucket.request({ action: "look up", path, key, signal }, async (options) => {
      try {
        return infoOf(key, await this.#bucket.client.send(command, options));
      } catch (error) {
        const { status = 0, code } = answerOf(error);
        if (status < 400 || mayPass({ status, code })) throw error;
        return await this.#confirmAbsence(path, status, options);
      }
    });
  }

  async *list(prefix: string, { after, signal }: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    assertPrefix(prefix);
    for await (
      const { Contents = [] } of this.#pages(prefix, { signal, StartAfter: after && this.#root + after })
    ) {
      for (const { Key, Size, LastModified } of Contents) {
        signal?.throwIfAborted();
        yield { key: Key!.slice(this.#root.length), sizeBytes: Size!, modifiedMs: LastModified!.getTime() };
      }
    }
  }

  async *folders(prefix: string, { signal }: RequestOptions = {}): AsyncGenerator<string> {
    assertPrefix(prefix);
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

  /** Any range that begins at or past the object's end is empty; S3 says so by an error. */
  async #read(
    path: string,
    { range, into }: Pick<GetOptions, "range" | "into">,
    options: SendOptions,
  ): Promise<Uint8Array> {
    const Range = range && `bytes=${range.offset}-${range.offset + range.length - 1}`;
    const command = new GetObjectCommand({ Bucket: this.#bucket.name, Key: path, Range });
    const expect = { object: true, statuses: [range === undefined ? 200 : 206] };
    try {
      const answer = await this.#bucket.client.send(command, expecting(options, expect));
      const { abortSignal: signal, moved } = options;
      return await readBody(answer, { bucket: this.#bucket.name, range, into, signal, moved });
    } catch (error) {
      if (range !== undefined && isPastEnd(error, range)) return new Uint8Array(0);
      throw error;
    }
  }

  /**
   * Whether a failed `GET` says that there is definitely no such object. A 403 is what S3 also answers for a missing
   * object to those whose right to list has a condition; the listing itself tells them.
   */
  async #isAbsent(error: unknown, path: string, options: SendOptions): Promise<boolean> {
    const { status, code } = answerOf(error);
    if (status === 404) return code === "NoSuchKey";
    return status === 403 && (code === "AccessDenied" || code === "") &&
      await this.#isUnlisted(path, options);
  }

  async #isUnlisted(path: string, options: SendOptions): Promise<boolean> {
    try {
      const page = await this.#page({ Prefix: path, MaxKeys: 1 }, options);
      return page.Contents?.[0]?.Key !== path;
    } catch (error) {
      if (answerOf(error).status === 403) return false;
      throw error;
    }
  }

  /**
   * A `HEAD` has no body that could say what its 404 is about: the object, the bucket, or something on the way. So the
   * object's first byte is asked for, by a `GET`. Resolves to `undefined` if that says that there is none.
   */
  async #confirmAbsence(path: string, status: number, options: SendOptions): Promise<undefined> {
    try {
      await this.#read(path, { range: { offset: 0, length: 1 } }, options);
    } catch (error) {
      if (await this.#isAbsent(error, path, options)) return undefined;
      throw error;
    }
    throw new AnswerError(`it is a ${status} to HEAD for an object that GET returns`);
  }

  /** By the CRC-32 where the store repeats it, for that costs nothing; else by the ETag, where it is an MD5. */
  #assertWritten(answer: PutObjectCommandOutput, body: Uint8Array): void {
    const { ETag, ChecksumCRC32 } = answer;
    if (!ETag) throw new AnswerError("it has no ETag, so nothing confirms the write");
    if (ChecksumCRC32 !== undefined) {
      if (ChecksumCRC32 === crc32Of(body)) return;
      throw new OtherBytesError(`its CRC-32 ${ChecksumCRC32} does not match the bytes sent`);
    }
    const stored = md5OfEtag(answer, this.#bucket.name);
    if (stored === undefined || stored === md5Of(body).hex) return;
    throw new OtherBytesError(`its ETag ${ETag} does not match the bytes sent`);
  }

  async *#pages(
    prefix: string,
    { signal, ...query }: RequestOptions & { StartAfter?: string | undefined; Delimiter?: string },
  ): AsyncGenerator<ListObjectsV2CommandOutput> {
    const path = this.#root + prefix;
    let ContinuationToken: string | undefined;
    let last = query.StartAfter;
    let empty = 0;
    for (;;) {
      const page = await this.#bucket.request({ action: "list", path, signal }, async (options) => {
        const page = await this.#page({ Prefix: path, ...query, ContinuationToken }, options, last);
        empty = page.Contents?.length || page.CommonPrefixes?.length ? 0 : empty + 1;
        if (!page.IsTruncated || empty < EMPTY_PAGES_MAX) return page;
        throw new AnswerError(`it continues, but the last ${EMPTY_PAGES_MAX} pages were empty`);
      });
      yield page;
      if (!page.IsTruncated) return;
      ContinuationToken = page.NextContinuationToken;
      last = lastOf(page) ?? last;
    }
  }

  /** One page, proven to be what was asked for; `after` is the last key of those before. */
  async #page(
    query: { Prefix: string } & Omit<ListObjectsV2CommandInput, "Bucket">,
    options: SendOptions,
    after?: string,
  ): Promise<ListObjectsV2CommandOutput> {
    const bucket = this.#bucket.name;
    const command = new ListObjectsV2Command({ Bucket: bucket, ...query });
    const page = await this.#bucket.client.send(command, expecting(options, LISTED));
    assertPage(page, { bucket, prefix: query.Prefix, after }, query.ContinuationToken);
    return page;
  }
}

function assertPage(page: ListObjectsV2CommandOutput, request: PageRequest, token: string | undefined): void {
  const { Contents = [], CommonPrefixes = [], IsTruncated, NextContinuationToken } = page;
  assertEcho({ ...page, name: page.Name }, request);
  assertCount(page.KeyCount, { objects: Contents.length, folders: CommonPrefixes.length });
  assertOrder(Contents.map(({ Key }) => Key), request);
  assertOrder(CommonPrefixes.map(({ Prefix }) => Prefix), request);
  Contents.forEach(assertObject);
  if (IsTruncated) nextOf(NextContinuationToken, token);
  else if (NextContinuationToken) throw new AnswerError("it is complete but has a continuation token");
}

/** The key or folder that the page ends with. */
function lastOf({ Contents = [], CommonPrefixes = [] }: ListObjectsV2CommandOutput): string | undefined {
  const ends = [Contents.at(-1)?.Key, CommonPrefixes.at(-1)?.Prefix].filter((end) => end !== undefined);
  return ends.toSorted().at(-1);
}

/** Whether a range is refused because it begins at or past the object's end. */
function isPastEnd(error: unknown, { offset }: NonNullable<GetOptions["range"]>): boolean {
  if (answerOf(error).code !== "InvalidRange") return false;
  const { $response } = error as { $response?: { headers?: Record<string, string> } };
  const total = /\/(\d+)$/.exec($response?.headers?.["content-range"] ?? "")?.[1];
  if (total === undefined || Number(total) <= offset) return true;
  throw new AnswerError(`it rejects offset ${offset} of an object of ${total} bytes`);
}

function infoOf(key: string, { ContentLength, LastModified, ETag }: HeadObjectCommandOutput): ObjectInfo {
  if (!ETag) throw new AnswerError("it has no ETag, so it is not an object of a store");
  if (!isSize(ContentLength)) throw new AnswerError("it has no valid length (Content-Length)");
  if (!isTime(LastModified)) throw new AnswerError("it has no valid time (Last-Modified)");
  return { key, sizeBytes: ContentLength, modifiedMs: LastModified.getTime() };
}

/** The store may not know the checksum or the condition, or ask for an MD5: whatever it says, it refuses the write for good. */
function mayBeOfHeader(error: unknown): boolean {
  const { status = 0, code } = answerOf(error);
  return (status === 400 || status === 501) && !mayPass({ status, code });
}
