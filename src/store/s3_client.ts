/**
 * Makes the AWS SDK's client: credentials, region and endpoint from the SDK's own chain, its retries off.
 *
 * The fetch handler, not the node one: Bun's `fetch` is its native HTTP client, takes proxies from the environment,
 * and pulls a streamed body only as fast as the socket takes it, which shows an upload's progress. (`node:http` in Bun
 * is a layer on the same client, and the SDK's handler for it writes a body in one piece.)
 */
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { FetchHttpHandler } from "@smithy/fetch-http-handler";
import { UsageError } from "../errors.ts";

/** The region that a server of one's own is asked in, and the one that AWS calls the default. */
const DEFAULT_REGION = "us-east-1";
/** An upload moves by pieces of this size; each is copied, since `fetch` does not take shared memory. */
const UPLOAD_PIECE_BYTES = 128 * 1024;

/** Given to `S3Client.send`, which hands its options through to the handler. */
export interface SendOptions {
  abortSignal: AbortSignal;
  /** Called for each piece of the body that the socket has asked for. */
  moved: () => void;
}

type HandlerArguments = Parameters<FetchHttpHandler["handle"]>;

/** Sends a body in pieces and tells when each goes out. */
class PacedFetchHandler extends FetchHttpHandler {
  override handle(request: HandlerArguments[0], options?: HandlerArguments[1] & { moved?: () => void }) {
    const { body } = request;
    // The SDK has signed these bytes' hash and set the length header; Bun's fetch keeps it with a stream.
    if (body instanceof Uint8Array && body.length > 0) request.body = piecesOf(body, options?.moved);
    return super.handle(request, options);
  }
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

export interface ConnectedClient {
  client: S3Client;
  /** The host and port that requests go to, for messages; `AWS` where no endpoint is set. */
  host: string;
}

/**
 * `endpoint` wins over `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` and the profile's. Credentials and region are those of
 * `profile`, where it is given, and not the environment's.
 */
export async function connectS3(
  endpoint: string | undefined,
  profile?: string | undefined,
): Promise<ConnectedClient> {
  const identity = profile === undefined ? {} : { profile };
  const probe = new S3Client(identity);
  const region = await probe.config.region().catch(() => process.env.AWS_DEFAULT_REGION || DEFAULT_REGION);
  const url = endpoint ?? await probe.config.serviceConfiguredEndpoint?.();
  probe.destroy();
  const config: S3ClientConfig = {
    ...identity,
    region,
    maxAttempts: 1, // `retry.ts` is the only place of retries
    expectContinueHeader: false, // fetch does not wait for the answer to it
    // Servers before 2025 refuse the SDK's own checksums; the signature covers the body's SHA-256 in any case.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: new PacedFetchHandler({ keepAlive: true, requestInit: () => ({ redirect: "manual" }) }),
    // A server of one's own seldom has a name for every bucket.
    ...(url === undefined ? {} : { endpoint: url, forcePathStyle: true }),
  };
  return { client: new S3Client(config), host: url === undefined ? "AWS" : hostOf(url) };
}

function hostOf(endpoint: string): string {
  const url = URL.parse(endpoint);
  if (url?.protocol === "http:" || url?.protocol === "https:") return url.host;
  throw new UsageError(
    'Cannot use the S3 endpoint: it is not an address such as "https://s3.example.com:9000"',
  );
}
