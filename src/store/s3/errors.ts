/** What a failed S3 request means: which answers are final, and what to tell the operator about each. */
import { StoreError, UnavailableError, VarveError } from "../../errors.ts";
import { AnswerError, PlainTextError } from "./answers.ts";
import type { Peer } from "./client.ts";
import { CredentialsError } from "./credentials.ts";
import { type AnswerHead, ConnectionError, TUNNEL_REFUSED } from "./handler.ts";
import { isAboutObject, isFull, mayPass, retryAfterMs, type Verdict } from "./passing.ts";

/** Where a request went, and what for. */
export interface S3Request {
  /** Such as `read`. */
  action: string;
  /** `s3://bucket/key`. */
  url: string;
  bucket: string;
  peer: Peer;
  /** The store's key of the one object that was to be read. */
  key?: string | undefined;
  /** The last answer that came. */
  last: AnswerHead | undefined;
  /** Lookups of the server's name that failed, one after the other, before it ever answered. */
  unresolved: number;
}

/** How often a name that cannot be found is looked up in all, where nothing has answered under it before. */
const LOOKUPS_MAX = 3;

const STATES: Record<string, string> = {
  AccessDenied: "access denied",
  InvalidAccessKeyId: "the access key is unknown to the store",
  SignatureDoesNotMatch: "the secret access key is wrong",
  ExpiredToken: "the session token has expired",
  InvalidToken: "the session token is not valid there",
  InvalidTokenId: "the session token is not valid there",
  RequestTimeTooSkewed: "the clocks of this host and the store differ too much",
  InvalidObjectState: "it is archived; restore it in the store first",
  QuotaExceeded: "the quota is used up",
  XMinioAdminBucketQuotaExceeded: "the bucket's quota is used up",
  XMinioStorageFull: "no space left in the store",
  XMinioDiskFull: "no space left in the store",
};

/** Reads an SDK error. A `HEAD` answer has no body and so no code. */
export function answerOf(error: unknown): Verdict {
  const parts = (error ?? {}) as Record<string, unknown> & { $metadata?: { httpStatusCode?: number } };
  const status = parts.$metadata?.httpStatusCode;
  const code = [parts["Code"], parts["code"], parts["name"]].find((text) => typeof text === "string");
  return { status, code: code === undefined || code === "Unknown" || code === "Error" ? "" : String(code) };
}

/** `Cannot <action> "<url>": <state>`, with the SDK's error as its cause. */
export function s3Error(request: S3Request, error: unknown): VarveError {
  if (error instanceof VarveError) return error;
  const start = `Cannot ${request.action} "${request.url}": `;
  const unproven = unprovenState(request, error);
  if (unproven !== undefined) return new StoreError(start + unproven, { retryable: true, cause: error });
  if (error instanceof CredentialsError) return new StoreError(start + error.message, { retryable: false });
  if (error instanceof PlainTextError) {
    return new StoreError(`${start}"${request.peer.host}" needs TLS; use https:// in its address`, {
      retryable: false,
    });
  }
  const answer = answerOf(error);
  const message = start + describe(request, answer, error);
  const cause = tellingCause(error, answer);
  if (answer.status === undefined) {
    return new StoreError(message, { retryable: isPassing(request, answer, error), cause });
  }
  if (mayPass(answer) || isForWrite(request, answer)) {
    return new StoreError(message, {
      retryable: true,
      retryAfterMs: retryAfterMs(request.last?.headers ?? {}),
      cause,
    });
  }
  if (request.key !== undefined && isAboutObject(answer)) {
    return new UnavailableError(request.key, message, { cause });
  }
  return new StoreError(message, { retryable: false, isFull: isFull(answer), cause });
}

/** What is wrong with an answer that came and proves nothing, or that the SDK could not make anything of. */
function unprovenState({ peer, last }: S3Request, error: unknown): string | undefined {
  const from = `the answer of "${peer.host}"${through(peer)} is not usable`;
  if (error instanceof AnswerError) return `${from}: ${error.message}`;
  const { status, code } = answerOf(error);
  const isSuccess = last !== undefined && last.status < 300 && (status === undefined || status < 300);
  if (!isSuccess || isConnectionCode(code) || error instanceof CredentialsError) return undefined;
  if (error instanceof Error) error.message = error.message.split("\n")[0]!; // the SDK's advice to programmers follows
  return `${from}: ${error instanceof Error ? error.message : error}`;
}

/** MinIO answers so to a write into a folder that another client has just emptied. */
function isForWrite({ key }: S3Request, { code }: Verdict): boolean {
  return key === undefined && code === "NoSuchKey";
}

function isPassing({ unresolved }: S3Request, { code }: Verdict, error: unknown): boolean {
  // By its status: a proxy that is overloaded, or cannot reach the store now.
  if (code === TUNNEL_REFUSED) return error instanceof Error && /^(5|429)/.test(error.message);
  return isConnectionCode(code) && !(code === "ENOTFOUND" && unresolved >= LOOKUPS_MAX);
}

/**
 * Connections that fail by what the other side's certificate says, or because it speaks no TLS, will fail again. The
 * words for answers that are no HTTP are Bun's.
 */
function isConnectionCode(code: string): boolean {
  return !/CERT|SSL|TLS|SIGNATURE|ERR_INVALID|ERR_PROXY|EPROTO/.test(code) &&
    /^(E[A-Z_]+|ERR_[A-Z_]+|Connection\w+|FailedToOpenSocket|Timeout\w*|Malformed\w+|Invalid[A-Z]\w*|\w*Headers?\w*|Unsupported\w+|Unrequested\w+|TooMany\w+)$/
      .test(code);
}

function describe(request: S3Request, answer: Verdict, error: unknown): string {
  const { bucket, peer } = request;
  const { status, code } = answer;
  if (status === undefined) return describeConnection(request, answer, error);
  const numbers = code === "" || code === "NotFound" ? `${status}` : `${status} ${code}`;
  if (code === "NoSuchBucket") return `bucket "${bucket}" does not exist at "${peer.host}" (404)`;
  if (status === 407) {
    return `the proxy "${peer.proxy?.host}" (${peer.proxy?.variable}) requires a password (407)`;
  }
  if (status === 301 || status === 307 || code === "AuthorizationHeaderMalformed") {
    return `bucket "${bucket}" is in another region; set AWS_REGION (${numbers})`;
  }
  if (code.startsWith("KMS.")) return `the store cannot use its encryption key for it (${numbers})`;
  const state = STATES[code] ??
    (status === 403 ? "access denied" : `"${peer.host}"${through(peer)} answered`);
  return `${state} (${numbers})`;
}

function describeConnection({ peer }: S3Request, { code }: Verdict, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (code === "EPROTO" && peer.isTls) {
    return `"${peer.host}"${
      through(peer)
    } does not speak TLS (EPROTO); its address may be http://${peer.host}`;
  }
  if (code === TUNNEL_REFUSED) {
    return `"${peer.host}"${through(peer)} refused the connection (${message})`;
  }
  if (code.includes("CERT") && error instanceof ConnectionError) {
    return `the certificate of "${peer.host}"${
      through(peer)
    } is not trusted: ${error.detail} (${code}); set AWS_CA_BUNDLE ` +
      `to a file of certificates to trust`;
  }
  if (!isConnectionCode(code)) {
    return error instanceof ConnectionError ? `${error.detail} (${code})` : message;
  }
  if (code === "ENOTFOUND" && peer.isAws && peer.proxy === undefined) {
    return `no S3 endpoint is set, so AWS was used, but "${peer.host}" cannot be found (ENOTFOUND); for another store ` +
      `set AWS_ENDPOINT_URL_S3 or --s3-endpoint`;
  }
  return `no connection to "${peer.host}"${through(peer)} (${code})`;
}

function through({ proxy }: Peer): string {
  return proxy === undefined ? "" : ` through the proxy "${proxy.host}" (${proxy.variable})`;
}

/** Some servers send no text, for which the SDK puts `UnknownError`: no help to anyone, so the code stands for it. */
function tellingCause(error: unknown, { status, code }: Verdict): unknown {
  if (error instanceof Error && (error.message === "UnknownError" || isConnectionCode(code))) {
    error.message = code || String(status);
  }
  return error;
}
