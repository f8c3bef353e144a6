/** Versions, delete markers and unfinished uploads of an S3 bucket, and what locks them. Part of the S3 store. */
import {
  AbortMultipartUploadCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
} from "@aws-sdk/client-s3";
import { StoreError } from "../errors.ts";
import type { History, Lock, Trace, TraceFailure, TracePage } from "./history.ts";
import { checkPrefix } from "./key.ts";
import type { S3Bucket } from "./s3_bucket.ts";
import type { S3Deleter } from "./s3_deleter.ts";
import { answerOf } from "./s3_errors.ts";
import type { RequestOptions } from "./store.ts";

/** Where a page begins: the versions come first, then the uploads. The markers are the server's, and opaque. */
interface Cursor {
  of: "versions" | "uploads";
  key?: string | undefined;
  id?: string | undefined;
}

/** What the three listings have in common. */
interface Listed {
  Key?: string | undefined;
  id: string | undefined;
  IsLatest?: boolean | undefined;
  Size?: number | undefined;
}

export class S3History implements History {
  readonly #bucket: S3Bucket;
  readonly #root: string;
  readonly #deleter: S3Deleter;

  /** `root` is what the bucket's keys have in front of the store's. */
  constructor(bucket: S3Bucket, { root, deleter }: { root: string; deleter: S3Deleter }) {
    this.#bucket = bucket;
    this.#root = root;
    this.#deleter = deleter;
  }

  async page(
    prefix: string,
    { after, signal }: RequestOptions & { after?: string | undefined },
  ): Promise<TracePage> {
    checkPrefix(prefix);
    const cursor: Cursor = after === undefined ? { of: "versions" } : JSON.parse(after);
    return cursor.of === "versions"
      ? await this.#versions(prefix, cursor, signal)
      : await this.#uploads(prefix, cursor, signal);
  }

  async #versions(prefix: string, { key, id }: Cursor, signal: AbortSignal | undefined): Promise<TracePage> {
    const path = this.#root + prefix;
    const command = new ListObjectVersionsCommand({
      Bucket: this.#bucket.name,
      Prefix: path,
      KeyMarker: key,
      VersionIdMarker: id,
    });
    const answer = await this.#bucket.request(
      { action: "list the versions in", path, signal },
      (options) => this.#bucket.client.send(command, options),
    );
    const { Versions = [], DeleteMarkers = [], IsTruncated, NextKeyMarker, NextVersionIdMarker } = answer;
    const traces = [
      ...Versions.map((version) => this.#trace("version", { ...version, id: version.VersionId })),
      ...DeleteMarkers.map((marker) => this.#trace("marker", { ...marker, id: marker.VersionId })),
    ];
    const next: Cursor = IsTruncated
      ? { of: "versions", key: this.#markerOf(prefix, NextKeyMarker), id: NextVersionIdMarker }
      : { of: "uploads" };
    return { traces, next: JSON.stringify(next) };
  }

  /** Those of the whole bucket are asked for: MinIO tells none where a prefix is given that is not a whole key. */
  async #uploads(prefix: string, { key, id }: Cursor, signal: AbortSignal | undefined): Promise<TracePage> {
    const path = this.#root + prefix;
    const command = new ListMultipartUploadsCommand({
      Bucket: this.#bucket.name,
      KeyMarker: key,
      UploadIdMarker: id,
    });
    const answer = await this.#bucket.request(
      { action: "list the unfinished uploads in", path, signal },
      (options) => this.#bucket.client.send(command, options),
    );
    const { Uploads = [], IsTruncated, NextKeyMarker, NextUploadIdMarker } = answer;
    const traces = Uploads.filter(({ Key = "" }) => Key.startsWith(path))
      .map((upload) => this.#trace("upload", { ...upload, id: upload.UploadId }));
    if (!IsTruncated) return { traces, next: undefined };
    const next: Cursor = {
      of: "uploads",
      key: this.#markerOf(prefix, NextKeyMarker),
      id: NextUploadIdMarker,
    };
    return { traces, next: JSON.stringify(next) };
  }

  async remove(traces: readonly Trace[], { signal }: RequestOptions): Promise<TraceFailure[]> {
    const stored = traces.filter(({ kind }) => kind !== "upload");
    const items = stored.map(({ key, id }) => ({ path: this.#root + key, versionId: id }));
    const left = await this.#deleter.delete(items, signal);
    for (const trace of traces) if (trace.kind === "upload") await this.#abort(trace, signal);
    const named = new Map(stored.map((trace) => [`${this.#root}${trace.key} ${trace.id}`, trace]));
    return left.map(({ key, versionId, reason }) => ({ trace: named.get(`${key} ${versionId}`)!, reason }));
  }

  async #abort({ key, id }: Trace, signal: AbortSignal | undefined): Promise<void> {
    const path = this.#root + key;
    const command = new AbortMultipartUploadCommand({ Bucket: this.#bucket.name, Key: path, UploadId: id });
    await this.#bucket.request({ action: "abort the upload of", path, signal }, async (options) => {
      try {
        await this.#bucket.client.send(command, options);
      } catch (error) {
        if (answerOf(error).code !== "NoSuchUpload") throw error;
      }
    });
  }

  async lockOf({ key, id }: Trace, { signal }: RequestOptions): Promise<Lock> {
    const path = this.#root + key;
    const command = new HeadObjectCommand({ Bucket: this.#bucket.name, Key: path, VersionId: id });
    return await this.#bucket.request({ action: "look up", path, signal }, async (options) => {
      try {
        const answer = await this.#bucket.client.send(command, options);
        const { ObjectLockRetainUntilDate: until, ObjectLockLegalHoldStatus: hold } = answer;
        return { untilMs: until?.getTime(), legalHold: hold === "ON" };
      } catch (error) {
        if (answerOf(error).status !== 404) throw error;
        return { untilMs: undefined, legalHold: false }; // its lock ended, and somebody else removed it
      }
    });
  }

  #trace(
    kind: Trace["kind"],
    { Key = "", id = "", IsLatest, Size }: Listed,
  ): Trace {
    return { key: Key.slice(this.#root.length), kind, id, isLatest: IsLatest ?? false, sizeBytes: Size ?? 0 };
  }

  /** A page that is cut and says not where to go on must not pass for the last. */
  #markerOf(prefix: string, marker: string | undefined): string {
    if (marker) return marker;
    throw new StoreError(
      `Cannot list "s3://${this.#bucket.name}/${this.#root}${prefix}": the listing is cut and says not where to go on`,
      { retryable: false },
    );
  }
}
