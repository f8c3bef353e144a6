/** What a failed S3 request means: which answers are final, and what to tell the operator about each. */
import { StoreError, VarveError } from "../errors.ts";

/** Where a request went, and what for. */
export interface S3Request {
  /** Such as `read`. */
  action: string;
  /** `s3://bucket/key`. */
  url: string;
  bucket: string;
  /** The endpoint's host and port. */
  host: string;
}

/** The parts of an SDK error that say what happened. */
interface Answer {
  /** HTTP status; `undefined` where no answer came. */
  status: number | undefined;
  /** The error code in the answer, such as `NoSuchKey`, or that of the connection, such as `ECONNREFUSED`. */
  code: string;
}

const STATES: Record<string, string> = {
  AccessDenied: "access denied",
  InvalidAccessKeyId: "the access key is not known there",
  SignatureDoesNotMatch: "the secret access key is wrong",
  ExpiredToken: "the session token has expired",
  InvalidToken: "the session token is not valid there",
  InvalidTokenId: "the session token is not valid there",
  RequestTimeTooSkewed: "this host's clock and the store's differ too much",
  QuotaExceeded: "the quota is used up",
  XMinioStorageFull: "no space left in the store",
};

/** Reads an SDK error. A `HEAD` answer has no body and so no code. */
export function answerOf(error: unknown): Answer {
  const parts = (error ?? {}) as Record<string, unknown> & { $metadata?: { httpStatusCode?: number } };
  const status = parts.$metadata?.httpStatusCode;
  const code = [parts["Code"], parts["code"], parts["name"]].find((text) => typeof text === "string");
  return { status, code: code === undefined || code === "Unknown" || code === "Error" ? "" : String(code) };
}

/** `Cannot <action> "<url>": <state>`, with the SDK's error as its cause. */
export function s3Error(request: S3Request, error: unknown): VarveError {
  if (error instanceof VarveError) return error;
  const answer = answerOf(error);
  const message = `Cannot ${request.action} "${request.url}": ${describe(request, answer, error)}`;
  return new StoreError(message, { retryable: isRetryable(answer), cause: tellingCause(error, answer) });
}

/**
 * An answer of 4xx is final, except 408 and 429. Two more say it by their code: S3's `RequestTimeout`, its 408 under the
 * number 400; and `NoSuchKey` to anything but a read, with which MinIO answers a write into a folder that another client
 * has just emptied.
 */
function isRetryable({ status, code }: Answer): boolean {
  if (status === undefined) return isConnectionCode(code);
  return status >= 500 || status === 408 || status === 429 || code === "RequestTimeout" ||
    code === "NoSuchKey";
}

/** Connections that fail by what the other side's certificate says will fail again. */
function isConnectionCode(code: string): boolean {
  return !/CERT|SSL|TLS|ERR_INVALID/.test(code) &&
    /^(E[A-Z_]+|Connection\w+|FailedToOpenSocket|Timeout\w*)$/.test(code);
}

function describe(request: S3Request, answer: Answer, error: unknown): string {
  const { status, code } = answer;
  const message = error instanceof Error ? error.message : String(error);
  if (code === "CredentialsProviderError") {
    return "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile";
  }
  if (status === undefined) {
    return isConnectionCode(code) ? `no connection to "${request.host}" (${code})` : message;
  }
  const numbers = code === "" || code === "NotFound" ? `${status}` : `${status} ${code}`;
  if (code === "NoSuchBucket") return noBucket(request.bucket, request.host);
  if (status === 301 || status === 307 || code === "AuthorizationHeaderMalformed") {
    return `bucket "${request.bucket}" is in another region: set AWS_REGION (${numbers})`;
  }
  const state = STATES[code] ?? (status === 403 ? "access denied" : `"${request.host}" answered`);
  return `${state} (${numbers})`;
}

/** For an answer of 404 that has no code. */
export function noBucketError(bucket: string, host: string): StoreError {
  return new StoreError(`Cannot use "s3://${bucket}": ${noBucket(bucket, host)}`, { retryable: false });
}

function noBucket(bucket: string, host: string): string {
  return `there is no bucket "${bucket}" at "${host}" (404)`;
}

/**
 * Some servers send no text, for which the SDK puts `UnknownError`, and of a connection Bun tells what a programmer of
 * `fetch` could do: no help to anyone, so the code stands for it.
 */
function tellingCause(error: unknown, { status, code }: Answer): unknown {
  const isEmpty = (error: Error) =>
    status === undefined ? isConnectionCode(code) : error.message === "UnknownError";
  if (error instanceof Error && isEmpty(error)) error.message = code || String(status);
  return error;
}
