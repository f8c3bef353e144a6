/**
 * Which failures of an S3 request may pass, which mean a full store, and which concern more than the one object that was
 * asked for. The one list for statuses, for codes, and for the codes inside a `DeleteObjects` answer.
 *
 * Sources: the error responses of the S3 API reference, MinIO's `cmd/api-errors.go`, Ceph's `rgw_common.cc`.
 */

/** What an answer says: its status, and the code in its body where it has one. */
export interface Verdict {
  status: number | undefined;
  code: string;
}

const PASSING_STATUSES = new Set([
  408, // Request Timeout
  425, // Too Early
  429, // Too Many Requests
  460, // a load balancer: the client went away
  499, // nginx and MinIO: the client went away
]);
/** Of these the same request will meet the same answer. */
const FINAL_SERVER_STATUSES = new Set([501, 505]);
/** The disk or the quota is full, whatever the code says. */
const FULL_STATUS = 507;

const PASSING_CODES = new Set([
  // The store has too much to do, or something within it failed.
  "Busy",
  "BandwidthLimitExceeded",
  "InternalError",
  "InternalFailure",
  "InternalServerError",
  "ProvisionedThroughputExceededException",
  "RequestLimitExceeded",
  "RequestThrottled",
  "ServiceUnavailable",
  "TooManyRequests",
  "TooManyRequestsException",
  "XMinioBackendDown",
  "XMinioServerNotInitialized",
  // The request did not arrive as it was sent.
  "BadDigest",
  "ClientDisconnected",
  "IncompleteBody",
  "RequestTimeout",
  "RequestTimeoutException",
  "XAmzContentChecksumMismatch",
  "XAmzContentSHA256Mismatch",
  // Somebody else is at the same object.
  "ConditionalRequestConflict",
  "OperationAborted",
  // The clock is set, or the credentials are renewed, while the request is tried again.
  "ExpiredToken",
  "ExpiredTokenException",
  "RequestExpired",
  "RequestTimeTooSkewed",
  "TokenRefreshRequired",
  // The service that holds the keys.
  "KMS.DependencyTimeoutException",
  "KMS.KMSInternalException",
]);
/** `SlowDownRead`, `ThrottlingException`, `XMinioOperationTimedOut`, `KMS.ThrottlingException` … */
const PASSING_PATTERN = /^SlowDown|Throttl|TimedOut$/;

const FULL_CODES = new Set([
  "EntityTooLargeForQuota",
  "InsufficientCapacity",
  "InsufficientStorage",
  "QuotaExceeded",
  "StorageQuotaExceeded",
  "XMinioAdminBucketQuotaExceeded",
  "XMinioDiskFull",
  "XMinioStorageFull",
]);

/** Not about the object: with these nothing can be read. */
const GENERAL_CODES = new Set([
  "AccountProblem",
  "AllAccessDisabled",
  "AuthorizationHeaderMalformed",
  "AuthorizationQueryParametersError",
  "ExpiredToken",
  "IllegalLocationConstraintException",
  "InvalidAccessKeyId",
  "InvalidBucketName",
  "InvalidRegion",
  "InvalidSecurity",
  "InvalidToken",
  "InvalidTokenId",
  "MissingSecurityHeader",
  "NoSuchBucket",
  "NotSignedUp",
  "PermanentRedirect",
  "SignatureDoesNotMatch",
  "UserSuspended",
]);
const GENERAL_STATUSES = new Set([401, 405, 407]);

/** Whether the same request may succeed later. */
export function mayPass(verdict: Verdict): boolean {
  const { status = 0, code } = verdict;
  if (isFull(verdict)) return false;
  if (PASSING_CODES.has(code) || PASSING_PATTERN.test(code) || PASSING_STATUSES.has(status)) return true;
  return status >= 500 && !FINAL_SERVER_STATUSES.has(status);
}

/** Whether there is no room for what was to be written. */
export function isFull({ status, code }: Verdict): boolean {
  return FULL_CODES.has(code) || status === FULL_STATUS;
}

/** Whether a final answer to the reading of one object says something about that object alone, such as its archival. */
export function isAboutObject({ status = 0, code }: Verdict): boolean {
  return status >= 400 && status < 500 && !GENERAL_STATUSES.has(status) && !GENERAL_CODES.has(code);
}

/**
 * The wait that an answer asks for, in milliseconds, by its `Retry-After` (RFC 9110, 10.2.3: seconds or a date).
 * A date counts from the answer's own `Date`, since this host's clock may be wrong.
 */
export function retryAfterMs(headers: Record<string, string>): number | undefined {
  const text = headers["retry-after"]?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  if (!/^[A-Z][a-z]{2},? .* GMT$/.test(text)) return undefined;
  const ms = Date.parse(text) - Date.parse(headers["date"] ?? "");
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
