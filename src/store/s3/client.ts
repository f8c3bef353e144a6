/** Makes the AWS SDK's client: credentials, region and endpoint from the SDK's own chain, its retries off. */
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { credentialsOf } from "./credentials.ts";
import { S3Handler } from "./handler.ts";
import { proxyOf, type ProxySetting } from "./proxy.ts";
import { OWN_DEFAULTS, readSettings, type S3Options, type S3Settings } from "./settings.ts";

/** Where requests go, for messages. */
export interface Peer {
  /** Host and port. */
  host: string;
  /** No endpoint is set: it is AWS itself. */
  isAws: boolean;
  isTls: boolean;
  /** What stands between, if something does. */
  proxy: ProxySetting | undefined;
}

export interface ConnectedClient {
  client: S3Client;
  peer: Peer;
}

/**
 * `endpoint` wins over `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` and the profile's. Credentials and region are those of
 * `profile`, where it is given, and not the environment's.
 */
export async function connectS3(options: S3Options = {}): Promise<ConnectedClient> {
  const { env } = process;
  const settings = await readSettings(options, env);
  const { endpoint, region } = settings;
  const identity = {
    ...OWN_DEFAULTS,
    ...(options.profile === undefined ? {} : { profile: options.profile }),
  };
  const requestHandler = new S3Handler({ ca: settings.ca });
  // Has the SDK's chain of credentials, and is asked for nothing else.
  const probe = new S3Client({ ...identity, region, requestHandler });
  const client = new S3Client({
    ...identity,
    region,
    credentials: credentialsOf({ profile: options.profile, env, chain: probe.config.credentials }),
    maxAttempts: 1, // `retry.ts` is the only place of retries
    expectContinueHeader: false, // fetch does not wait for the answer to it
    ...checksumsOf(settings),
    requestHandler,
    ...(endpoint === undefined ? {} : { endpoint: endpoint.href }),
    forcePathStyle: settings.isPathStyle,
  });
  const url = endpoint ?? new URL(`https://s3.${region}.amazonaws.com`);
  const isTls = url.protocol === "https:";
  return { client, peer: { host: url.host, isAws: endpoint === undefined, isTls, proxy: proxyOf(url, env) } };
}

/**
 * Servers before 2025 refuse the SDK's own checksums, so they are sent where the settings ask for them. The signature
 * covers the body's SHA-256 in any case, and each write has its CRC-32 in a header, or its MD5.
 */
function checksumsOf({ hasChecksumSetting: { request, response } }: S3Settings): Partial<S3ClientConfig> {
  return {
    ...(request ? {} : { requestChecksumCalculation: "WHEN_REQUIRED" }),
    ...(response ? {} : { responseChecksumValidation: "WHEN_REQUIRED" }),
  };
}
