/**
 * Sends the SDK's requests by Bun's own HTTP client, shows how they move, and lets no answer through to the SDK that is
 * not the server's own. Part of the S3 store.
 *
 * The fetch handler, not the node one: Bun's `fetch` is its native HTTP client, takes proxies from the environment,
 * and pulls a streamed body only as fast as the socket takes it, which shows an upload's progress. (`node:http` in Bun
 * is a layer on the same client, and the SDK's handler for it writes a body in one piece.)
 */
import { FetchHttpHandler } from "@smithy/fetch-http-handler";
import { AnswerError, assertAnswer, type Expectation } from "./answers.ts";

/** An upload moves by pieces of this size; each is copied, since `fetch` does not take shared memory. */
const UPLOAD_PIECE_BYTES = 128 * 1024;
/** Of an answer that is no object's bytes; a listing of a thousand keys of a KiB each is far below. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/** Bun's word for a proxy that refused to connect to the server. */
export const TUNNEL_REFUSED = "ERR_PROXY_TUNNEL";

/** Status and headers, by names in lower case, of the last answer that came. */
export interface AnswerHead {
  status: number;
  headers: Record<string, string>;
}

/** Given to `S3Client.send`, which hands its options through to the handler. */
export interface SendOptions {
  abortSignal: AbortSignal;
  /** Called for each piece of the body that the socket has asked for, and for each that comes back. */
  moved: () => void;
  /** Told of each answer, before anything is made of it. */
  answered: (head: AnswerHead) => void;
  /** What a good answer has; the bytes of an `object` are left to whoever reads them. */
  expect?: (Expectation & { object?: boolean }) | undefined;
}

/** `options` for a request of which the answer has to be as `expect` says. */
export function expecting(options: SendOptions, expect: SendOptions["expect"]): SendOptions {
  return { ...options, expect };
}

/**
 * No answer came, or not the whole of it: `code` is the system's or Bun's word for why. Bun's `detail` is mostly what a
 * programmer of `fetch` could do.
 */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly code: string;
  readonly detail: string;

  constructor(code: string, detail: string) {
    super(code);
    this.code = code;
    this.detail = detail;
  }
}

type HandlerArguments = Parameters<FetchHttpHandler["handle"]>;
/** Without them, as for requests to other services (for credentials), nothing is expected. */
type HandleOptions = HandlerArguments[1] & Partial<Omit<SendOptions, "abortSignal">>;
type Handled = Awaited<ReturnType<FetchHttpHandler["handle"]>>;

interface HandlerOptions {
  /** Certificates in PEM that sign the server's, instead of those that the system knows. */
  ca?: string | undefined;
}

export class S3Handler extends FetchHttpHandler {
  constructor({ ca }: HandlerOptions = {}) {
    super({
      keepAlive: true,
      requestInit: () => ({ redirect: "manual" }),
      // A body that something on the way has compressed must not be taken for the one that was stored.
      customFetch: ((request: Request) => fetchAsIs(request, ca)) as typeof fetch,
    });
  }

  override async handle(request: HandlerArguments[0], options: HandleOptions = {}): Promise<Handled> {
    const { body } = request;
    // The SDK has signed these bytes' hash and set the length header; Bun's fetch keeps it with a stream.
    if (body instanceof Uint8Array && body.length > 0) request.body = piecesOf(body, options.moved);
    // Not signed: Google's servers change it.
    request.headers["accept-encoding"] = "identity";
    const handled = await super.handle(request, options);
    await check(handled.response, request.method, options);
    return handled;
  }
}

async function fetchAsIs(request: Request, ca: string | undefined): Promise<Response> {
  try {
    return await fetch(request, { decompress: false, ...(ca === undefined ? {} : { tls: { ca } }) });
  } catch (error) {
    request.signal.throwIfAborted();
    throw connectionError(error);
  }
}

function connectionError(error: unknown): unknown {
  const { code } = (error ?? {}) as { code?: unknown };
  if (typeof code !== "string" || !(error instanceof Error)) return error;
  const connection = new ConnectionError(code, error.message);
  // "Proxy refused to open a tunnel: 407 Proxy Authentication Required"
  if (code === TUNNEL_REFUSED) connection.message = /\d{3}\b.*$/.exec(error.message)?.[0] ?? code;
  return connection;
}

/** Reads the body of an answer, unless it is an object's, and replaces it by its bytes. */
async function check(
  response: Handled["response"],
  method: string,
  { expect = {}, moved, answered }: HandleOptions,
): Promise<void> {
  const { statusCode: status, headers } = response;
  answered?.({ status, headers });
  const isObject = expect.object === true && status < 300;
  if (!isObject) response.body = await readAnswer(response.body, moved);
  assertAnswer({ method, status, headers, body: isObject ? undefined : response.body }, expect);
}

async function readAnswer(body: unknown, moved?: () => void): Promise<Uint8Array> {
  if (body instanceof Blob) return await body.bytes();
  if (!(body instanceof ReadableStream)) return new Uint8Array(0);
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    for await (const piece of body as ReadableStream<Uint8Array>) {
      moved?.();
      pieces.push(piece);
      sizeBytes += piece.length;
      if (sizeBytes > ANSWER_BYTES_MAX) throw new AnswerError(`it is longer than ${ANSWER_BYTES_MAX} bytes`);
    }
  } catch (error) {
    throw error instanceof AnswerError ? error : connectionError(error);
  }
  return Buffer.concat(pieces, sizeBytes);
}

function piecesOf(body: Uint8Array, moved?: () => void): ReadableStream<Uint8Array> {
  let at = 0;
  let piece: Uint8Array<ArrayBuffer> | undefined;
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      moved?.();
      // Who asks for the next piece has copied the last one: it need not wait for the garbage collector.
      piece?.buffer.transfer(0);
      piece = new Uint8Array(body.subarray(at, at += UPLOAD_PIECE_BYTES));
      controller.enqueue(piece);
      if (at >= body.length) controller.close();
    },
  }, { highWaterMark: 0 });
}
