/** Opens a store by its URL: the only file that names the concrete stores. */
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { UsageError } from "../errors.ts";
import { DirectoryStore } from "./directory/directory.ts";
import { isKey } from "./key.ts";
import { limitRate } from "./wrappers/limit_rate.ts";
import { RetryStore } from "./wrappers/retry.ts";
import { type StoreRequest, traceRequests } from "./wrappers/trace.ts";
import { S3Store } from "./s3/s3.ts";
import { S3Bucket } from "./s3/bucket.ts";
import { connectS3 } from "./s3/client.ts";
import type { Addressing } from "./s3/addressing.ts";
import type { Store } from "./store.ts";

interface OpenStoreOptions {
  /** Address of the S3 server; without it that of the AWS settings, or AWS itself. */
  s3Endpoint?: string | undefined;
  /** The AWS profile that is used instead of the environment's credentials. */
  s3Profile?: string | undefined;
  /** Where the bucket's name goes; without it as the profile says. */
  s3Addressing?: Addressing | undefined;
  /** How long an S3 request may go without a byte in either direction. */
  s3TimeoutMs?: number | undefined;
  /** How long a store that answers nothing well is waited for. */
  retryForMs?: number | undefined;
  /** The option or variable that names it, for messages. */
  origin?: string | undefined;
  /** No more than so much is sent and received. */
  bytesPerSecond?: number | undefined;
  /** Told each attempt that failed (`debug`), and when the store goes, stays away and is back (`warn`). */
  onRetry: (line: string, level: "debug" | "warn") => void;
  /** Told what the operator may not know of. */
  onWarning?: ((line: string) => void) | undefined;
  /** Receives each request, the retries included; left out unless these are logged. */
  onRequest?: ((request: StoreRequest) => void) | undefined;
}

/**
 * Opens `s3://bucket/prefix`, a `file:` URL or the path of a directory, with retries around it. No request is made
 * yet. Throws a `UsageError` for any other URL.
 */
export async function openStore(url: string, options: OpenStoreOptions): Promise<Store> {
  const { bytesPerSecond, onWarning, onRequest } = options;
  const opened = /^s3:/i.test(url)
    ? await openS3(url, options)
    : new DirectoryStore(directoryOf(url, options), { onWarning });
  const now = () => performance.now();
  const store = onRequest === undefined ? opened : traceRequests(opened, { onRequest, now });
  const limited = bytesPerSecond === undefined ? store : limitRate(store, {
    bytesPerSecond,
    now,
    sleep: sleepUnlessAborted,
  });
  return new RetryStore(limited, {
    onRetry: options.onRetry,
    sleep: sleepUnlessAborted,
    random: Math.random,
    retryForMs: options.retryForMs,
    silenceMs: options.s3TimeoutMs,
  });
}

async function openS3(
  url: string,
  { s3Endpoint, s3Profile, s3Addressing, s3TimeoutMs, onWarning, origin }: OpenStoreOptions,
): Promise<Store> {
  const [, bucket = "", prefix = ""] = /^s3:\/\/([a-z0-9._-]+)(?:\/(.*?))?\/*$/i.exec(url) ?? [];
  // The text may hold a secret, if someone wrote one in front of an "@": it is not repeated.
  if (bucket === "") {
    throw new UsageError(`Cannot open ${storeOf(origin)}: an S3 store is written "s3://bucket/prefix"`);
  }
  if (!/^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/i.test(bucket)) {
    throw new UsageError(
      `Cannot open ${
        storeOf(origin)
      }: "${bucket}" is not a valid bucket name; expected 3 to 63 letters, digits, dots and ` +
        `hyphens, starting and ending with a letter or digit`,
    );
  }
  if (prefix !== "" && !isKey(prefix)) {
    throw new UsageError(`Cannot open store "${url}": its prefix is not valid`);
  }
  const connected = await connectS3({ endpoint: s3Endpoint, profile: s3Profile, addressing: s3Addressing });
  if (connected.peer.isTls && process.env.NODE_TLS_REJECT_UNAUTHORIZED === "0") {
    onWarning?.(
      "NODE_TLS_REJECT_UNAUTHORIZED=0 is set: the store's certificate is not checked, so anyone can impersonate it",
    );
  }
  return new S3Store(new S3Bucket(bucket, connected, { limitMs: s3TimeoutMs }), prefix);
}

function storeOf(origin: string | undefined): string {
  return origin === undefined ? "the store" : `the store of ${origin}`;
}

function directoryOf(url: string, { origin }: OpenStoreOptions): string {
  if (url === "") throw new UsageError(`Cannot open ${storeOf(origin)}: its path is empty`);
  if (/^file:/i.test(url)) return pathOf(url);
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url) ?? [];
  if (scheme === undefined) return resolve(url);
  throw new UsageError(
    `Cannot open a store of kind "${scheme}": expected "s3://bucket/prefix" or a directory`,
  );
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new UsageError(`Cannot open store "${url}": expected "file:///path"`, { cause });
  }
}

async function sleepUnlessAborted(delayMs: number, signal?: AbortSignal): Promise<void> {
  await sleep(delayMs, undefined, { signal }).catch(() => {});
  signal?.throwIfAborted();
}
