/**
 * Lets a proxy in front of a real S3 server lie: now and then one well-formed answer is wrong. A listing is empty, short or
 * old, an object that is there is said not to be, an old copy of it is given, or a write is acknowledged and not done; or
 * the answer is none of the store's: a web page, half a body, a wrong ETag. Asked again, the store tells the truth.
 */
import { type Call, type FaultyS3, type Reply, s3Failure, webPage } from "./faulty_s3.ts";
import { random } from "./random.ts";

/** After a lie, all answers about the same thing are true for so long: no two in a row are wrong. */
const TRUTH_MS = 5_000;
/** Answers that are kept to be given again. */
const OLD_ANSWERS_MAX = 2_000;

export type Lie = "empty" | "short" | "old" | "missing" | "swallowed" | "page" | "half" | "etag";

export interface Lies {
  /** By kind, until now. */
  readonly told: Record<Lie, number>;
}

/** One answer of `oneIn` is a lie, until `proxy.reset()`. */
export function letLie(proxy: FaultyS3, { seed, oneIn }: { seed: number; oneIn: number }): Lies {
  const told = { empty: 0, short: 0, old: 0, missing: 0, swallowed: 0, page: 0, half: 0, etag: 0 };
  const draw = random(seed);
  const lastMs = new Map<string, number>();
  const old = new Map<string, Required<Reply>>();
  const isFresh = (about: string, nowMs: number) =>
    [...lastMs].every(([other, atMs]) =>
      nowMs - atMs > TRUTH_MS || !(other.startsWith(about) || about.startsWith(other))
    );
  const lie = (kind: Lie, about: string) => {
    told[kind]++;
    lastMs.set(about, Date.now());
  };
  proxy.faultOf = (call) => {
    const about = call.query.get("prefix") ?? call.key;
    const question = `${call.method} ${call.key}?${call.query}`;
    const remember = (answer: Required<Reply>): Reply => {
      if (old.size >= OLD_ANSWERS_MAX) old.delete(old.keys().next().value!);
      if (answer.status === 200) old.set(question, answer);
      return answer;
    };
    if (draw(oneIn) !== 0 || !isFresh(about, Date.now())) return isRead(call) ? remember : undefined;
    const kinds = kindsOf(call, old.has(question));
    const kind = kinds[draw(kinds.length)];
    if (kind === undefined) return undefined;
    lie(kind, about);
    if (kind === "old") return old.get(question);
    if (kind === "missing") return call.method === "HEAD" ? { status: 404 } : s3Failure(404, "NoSuchKey");
    if (kind === "swallowed") return acknowledged(call);
    if (kind === "page") return webPage();
    if (kind === "half") return "half";
    if (kind === "etag") return withEtag;
    return (answer) => listing(answer, kind === "empty" ? 0 : draw(5));
  };
  return { told };
}

function isListing({ method, query }: Call): boolean {
  return method === "GET" && query.get("list-type") === "2";
}

function isRead(call: Call): boolean {
  return isListing(call) ||
    (call.method === "GET" && call.key !== "" && /\/(leases|gc|holds|volumes)\//.test(call.key));
}

/** What a lie about this can be. */
function kindsOf(call: Call, hasOld: boolean): Lie[] {
  const { method, key, query } = call;
  if (isListing(call) && !query.has("delimiter")) {
    return ["empty", "short", "page", ...(hasOld ? ["old" as const] : [])];
  }
  if (key === "") return ["page"];
  if (method === "GET") return ["missing", "page", "half", ...(hasOld ? ["old" as const] : [])];
  if (method === "HEAD") return ["missing"];
  if (method === "PUT") return ["swallowed", "page", "etag"];
  return ["page"];
}

/** As if it were stored: the checksum is that of what was sent. */
function acknowledged({ headers }: Call): Reply {
  const sum = String(headers["x-amz-checksum-crc32"]);
  return { status: 200, headers: { etag: '"stored"', "x-amz-checksum-crc32": sum, "content-length": "0" } };
}

/** Of other bytes. */
function withEtag({ status, headers: { "x-amz-checksum-crc32": _, ...headers } }: Required<Reply>): Reply {
  return { status, headers: { ...headers, etag: `"${"0".repeat(32)}"` } };
}

/** A listing with no more than the first entries, that says it is all. */
function listing({ status, headers, body }: Required<Reply>, count: number): Reply {
  const text = Buffer.from(body as Uint8Array).toString();
  let left = count;
  const short = text.replace(/<Contents>.*?<\/Contents>/gs, (entry) => left-- > 0 ? entry : "")
    .replace(/<KeyCount>(\d+)</, (_, keys) => `<KeyCount>${Math.min(count, Number(keys))}<`)
    .replace(/<IsTruncated>true</, "<IsTruncated>false<")
    .replace(/<NextContinuationToken>.*?<\/NextContinuationToken>/s, "");
  return { status, headers: { ...headers, "content-length": String(Buffer.byteLength(short)) }, body: short };
}
