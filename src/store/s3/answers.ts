/**
 * What proves that an answer is the S3 server's own, and the one to this request: something on the way (a proxy, a
 * portal, a cache) may answer in its place. docs/stores.md has the whole list. Part of the S3 store.
 */
import { mayPass } from "./passing.ts";

/** An answer that proves nothing: the message says what was wrong with it. A failure of the line, to be tried again. */
export class AnswerError extends Error {
  override readonly name = "AnswerError";
}

/** The answer to a write says that the store has other bytes than were sent. */
export class OtherBytesError extends AnswerError {
  readonly isOfOtherBytes = true;
}

/** A server that wants TLS was asked without. */
export class PlainTextError extends Error {
  override readonly name = "PlainTextError";
}

/** What is known of an answer before anything is made of it. */
interface RawAnswer {
  method: string;
  status: number;
  /** By names in lower case. */
  headers: Record<string, string>;
  /** `undefined` for an object's bytes, which are not looked at here. */
  body: Uint8Array | undefined;
}

/** What a good answer to a request has. */
export interface Expectation {
  /** Root element of its XML; without one its body does not count. */
  root?: string | undefined;
  /** Statuses; 200 unless something else is said. */
  statuses?: readonly number[] | undefined;
}

/** Content types that say: this is a page, or a message of some other service. */
const PAGE_TYPE = /^\s*(text\/html|application\/xhtml\+xml)\b/i;
const HTML = /^\s*(<!doctype\s+html|<html)\b/i;
/** As much of a body as is looked at for its root element. */
const HEAD_CHARS = 2000;
/** Of a page, what is shown of it. */
const QUOTED_CHARS = 60;

/** Throws `AnswerError` unless the answer is S3's, and, where it is a success, the kind that is expected. */
export function assertAnswer(answer: RawAnswer, { root, statuses = [200] }: Expectation): void {
  const { status, headers } = answer;
  if (status >= 300) return assertFailure(answer);
  if (isPage(headers)) throw new AnswerError(`it is a web page (${headers["content-type"]})`);
  if (!statuses.includes(status)) {
    throw new AnswerError(`its status is ${status} instead of ${statuses.join(" or ")}`);
  }
  if (answer.body !== undefined) assertBody(answer.body, root);
}

/** A server that fails for now may say so as it likes; any other refusal is S3's only if it looks like S3's. */
function assertFailure({ method, status, headers, body }: RawAnswer): void {
  if (mayPass({ status, code: "" }) || status === 407) return;
  const isRegion = status === 301 || status === 307;
  if (method === "HEAD" || body === undefined || body.length === 0) {
    if (status < 400 && !isRegion) throw new AnswerError(`it is a redirect (${status})`);
    // A body would have said what is missing.
    if (status === 404 && method !== "HEAD") {
      throw new AnswerError("it is a 404 that does not name the missing object");
    }
    return;
  }
  const text = textOf(body);
  if (rootOf(text) === "Error") return;
  // So say Go's servers, such as MinIO, and nginx.
  if (status === 400 && /HTTP request (was sent )?to (an )?HTTPS/i.test(text)) throw new PlainTextError();
  const kind = isPage(headers) || HTML.test(text) ? "web page" : "text";
  throw new AnswerError(`it is a ${status} with a ${kind} that is not from S3: ${quote(text)}`);
}

function assertBody(body: Uint8Array, root: string | undefined): void {
  const text = textOf(body);
  if (HTML.test(text)) throw new AnswerError(`it is a web page: ${quote(text)}`);
  const found = rootOf(text);
  if (found === "Error") {
    throw new AnswerError(`it is an error with a success status: ${quote(text)}`);
  }
  if (root === undefined) return;
  if (body.length === 0) throw new AnswerError("it is empty");
  if (found !== root) throw new AnswerError(`it is not XML with the root ${root}: ${quote(text)}`);
  if (!isClosed(body, root)) throw new AnswerError("its XML is truncated");
}

/** Whether the content type is that of a web page. */
function isPage(headers: Record<string, string>): boolean {
  return PAGE_TYPE.test(headers["content-type"] ?? "");
}

/** Whether the root element ends where the body does. */
function isClosed(body: Uint8Array, root: string): boolean {
  const end = new TextDecoder().decode(body.subarray(-HEAD_CHARS)).trimEnd();
  return end.endsWith(`</${root}>`) || new RegExp(`<${root}(\\s[^<>]*)?/>$`).test(end);
}

function rootOf(text: string): string | undefined {
  return /^\uFEFF?\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--[^]*?-->\s*)*<([A-Za-z_][\w.-]*)/.exec(text)?.[1];
}

function textOf(body: Uint8Array): string {
  return new TextDecoder().decode(body.subarray(0, HEAD_CHARS));
}

function quote(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return JSON.stringify(line.length > QUOTED_CHARS ? `${line.slice(0, QUOTED_CHARS)}…` : line);
}
