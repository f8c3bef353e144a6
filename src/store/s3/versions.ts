/** Versions, delete markers and unfinished uploads of an S3 bucket, and what locks them. Part of the S3 store. */
import {
  AbortMultipartUploadCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
} from "@aws-sdk/client-s3";
import type { Lock, ObjectVersions, StoredVersion, VersionFailure, VersionPage } from "../store.ts";
import { assertPrefix } from "../key.ts";
import { AnswerError } from "./answers.ts";
import type { S3Bucket } from "./bucket.ts";
import type { S3Deleter } from "./deleter.ts";
import { answerOf } from "./errors.ts";
import { expecting, type SendOptions } from "./handler.ts";
import { assertEcho, assertObject, assertOrder, nextOf, type PageRequest } from "./listing.ts";
import type { RequestOptions } from "../store.ts";

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

const VERSIONS = { root: "ListVersionsResult" };
const UPLOADS = { root: "ListMultipartUploadsResult" };
const ABORTED = { statuses: [200, 204] };
const FIRST_BYTE = { object: true, statuses: [206] };

export class S3Versions implements ObjectVersions {
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
  ): Promise<VersionPage> {
    assertPrefix(prefix);
    const cursor: Cursor = after === undefined ? { of: "versions" } : JSON.parse(after);
    return cursor.of === "versions"
      ? await this.#versions(prefix, cursor, signal)
      : await this.#uploads(prefix, cursor, signal);
  }

  async #versions(
    prefix: string,
    { key, id }: Cursor,
    signal: AbortSignal | undefined,
  ): Promise<VersionPage> {
    const path = this.#root + prefix;
    const command = new ListObjectVersionsCommand({
      Bucket: this.#bucket.name,
      Prefix: path,
      KeyMarker: key,
      VersionIdMarker: id,
    });
    const request = { bucket: this.#bucket.name, prefix: path, after: key };
    const answer = await this.#bucket.request(
      { action: "list the versions in", path, signal },
      async (options) => {
        const answer = await this.#bucket.client.send(command, expecting(options, VERSIONS));
        assertVersions(answer, request, { key, id });
        return answer;
      },
    );
    const { Versions = [], DeleteMarkers = [], IsTruncated, NextKeyMarker, NextVersionIdMarker } = answer;
    const traces = [
      ...Versions.map((version) => this.#trace("version", { ...version, id: version.VersionId })),
      ...DeleteMarkers.map((marker) => this.#trace("marker", { ...marker, id: marker.VersionId })),
    ];
    const next: Cursor = IsTruncated
      ? { of: "versions", key: NextKeyMarker, id: NextVersionIdMarker }
      : { of: "uploads" };
    return { traces, next: JSON.stringify(next) };
  }

  /** Those of the whole bucket are asked for: MinIO tells none where a prefix is given that is not a whole key. */
  async #uploads(prefix: string, { key, id }: Cursor, signal: AbortSignal | undefined): Promise<VersionPage> {
    const path = this.#root + prefix;
    const command = new ListMultipartUploadsCommand({
      Bucket: this.#bucket.name,
      KeyMarker: key,
      UploadIdMarker: id,
    });
    const answer = await this.#bucket.request(
      { action: "list the unfinished uploads in", path, signal },
      async (options) => {
        const answer = await this.#bucket.client.send(command, expecting(options, UPLOADS));
        assertUploads(answer, this.#bucket.name, { key, id });
        return answer;
      },
    );
    const { Uploads = [], IsTruncated, NextKeyMarker, NextUploadIdMarker } = answer;
    const traces = Uploads.filter(({ Key = "" }) => Key.startsWith(path))
      .map((upload) => this.#trace("upload", { ...upload, id: upload.UploadId }));
    if (!IsTruncated) return { traces, next: undefined };
    const next: Cursor = {
      of: "uploads",
      key: NextKeyMarker,
      id: NextUploadIdMarker,
    };
    return { traces, next: JSON.stringify(next) };
  }

  async remove(traces: readonly StoredVersion[], { signal }: RequestOptions): Promise<VersionFailure[]> {
    const stored = traces.filter(({ kind }) => kind !== "upload");
    const items = stored.map(({ key, id }) => ({ path: this.#root + key, versionId: id }));
    const left = await this.#deleter.delete(items, signal);
    for (const trace of traces) if (trace.kind === "upload") await this.#abort(trace, signal);
    const named = new Map(stored.map((trace) => [`${this.#root}${trace.key} ${trace.id}`, trace]));
    return left.map(({ key, versionId, reason }) => ({ trace: named.get(`${key} ${versionId}`)!, reason }));
  }

  async #abort({ key, id }: StoredVersion, signal: AbortSignal | undefined): Promise<void> {
    const path = this.#root + key;
    const command = new AbortMultipartUploadCommand({ Bucket: this.#bucket.name, Key: path, UploadId: id });
    await this.#bucket.request({ action: "abort the upload of", path, signal }, async (options) => {
      try {
        await this.#bucket.client.send(command, expecting(options, ABORTED));
      } catch (error) {
        if (answerOf(error).code !== "NoSuchUpload") throw error;
      }
    });
  }

  async lockOf({ key, id }: StoredVersion, { signal }: RequestOptions): Promise<Lock> {
    const path = this.#root + key;
    const command = new HeadObjectCommand({ Bucket: this.#bucket.name, Key: path, VersionId: id });
    return await this.#bucket.request({ action: "look up", path, signal }, async (options) => {
      try {
        const answer = await this.#bucket.client.send(command, options);
        const { ObjectLockRetainUntilDate: until, ObjectLockLegalHoldStatus: hold } = answer;
        return { untilMs: until?.getTime(), legalHold: hold === "ON" };
      } catch (error) {
        if (answerOf(error).status !== 404) throw error;
        await this.#confirmAbsence({ Bucket: this.#bucket.name, Key: path, VersionId: id }, options);
        return { untilMs: undefined, legalHold: false }; // its lock ended, and somebody else removed it
      }
    });
  }

  #trace(
    kind: StoredVersion["kind"],
    { Key = "", id = "", IsLatest, Size }: Listed,
  ): StoredVersion {
    return { key: Key.slice(this.#root.length), kind, id, isLatest: IsLatest ?? false, sizeBytes: Size ?? 0 };
  }

  /** A 404 to `HEAD` does not say what is missing; one to `GET` does. */
  async #confirmAbsence(version: GetObjectCommandInput, options: SendOptions): Promise<void> {
    const command = new GetObjectCommand({ ...version, Range: "bytes=0-0" });
    try {
      const { Body } = await this.#bucket.client.send(command, expecting(options, FIRST_BYTE));
      await Body?.transformToWebStream().cancel();
    } catch (error) {
      if (["NoSuchVersion", "NoSuchKey"].includes(answerOf(error).code)) return;
      throw error;
    }
    throw new AnswerError("it is a 404 to HEAD for a version that GET returns");
  }
}

function assertVersions(
  page: ListObjectVersionsCommandOutput,
  request: PageRequest,
  asked: Omit<Cursor, "of">,
): void {
  const { Versions = [], DeleteMarkers = [], IsTruncated, NextKeyMarker, NextVersionIdMarker } = page;
  assertEcho({ ...page, name: page.Name }, request);
  for (const entries of [Versions, DeleteMarkers]) {
    assertOrder(entries.map(({ Key }) => Key), request, { repeats: true });
    assertIds(entries.map(({ VersionId }) => VersionId));
  }
  Versions.forEach(assertObject);
  if (IsTruncated) assertMove({ key: NextKeyMarker, id: NextVersionIdMarker }, asked);
}

function assertUploads(
  page: ListMultipartUploadsCommandOutput,
  bucket: string,
  asked: Omit<Cursor, "of">,
): void {
  const { Uploads = [], IsTruncated, NextKeyMarker, NextUploadIdMarker } = page;
  assertEcho({ ...page, name: page.Bucket }, { bucket, prefix: "" });
  if (Uploads.some(({ Key }) => !Key)) throw new AnswerError("it has an entry without a key");
  assertIds(Uploads.map(({ UploadId }) => UploadId));
  if (IsTruncated) assertMove({ key: NextKeyMarker, id: NextUploadIdMarker }, asked);
}

/** What has no id could not be removed, and what would be removed in its place is something else. */
function assertIds(ids: readonly (string | undefined)[]): void {
  if (ids.some((id) => id === undefined)) throw new AnswerError("it has an entry without an id");
}

/** A page that is cut and says not where to go on must not pass for the last. */
function assertMove(next: Omit<Cursor, "of">, asked: Omit<Cursor, "of">): void {
  nextOf(next.key && JSON.stringify([next.key, next.id || ""]), JSON.stringify([asked.key, asked.id || ""]));
}
