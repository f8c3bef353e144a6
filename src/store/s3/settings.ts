/** What the environment and the AWS profile say about an S3 store beyond credentials. Part of the S3 store. */
import { readFile } from "node:fs/promises";
import { S3Client } from "@aws-sdk/client-s3";
import { parseKnownFiles } from "@smithy/core/config";
import { describeError, UsageError } from "../../errors.ts";
import { type Addressing, isPathStyle } from "./addressing.ts";
import type { Environment } from "./proxy.ts";

/** The region that a server of one's own is asked in, and the one that AWS calls the default. */
const DEFAULT_REGION = "us-east-1";

/** For every client: the mode "auto" of the AWS settings asks 169.254.169.254 for a region, to choose times that no one here uses. */
export const OWN_DEFAULTS = { defaultsMode: "legacy" } as const;

/** A profile's keys; those of a section within it have that in front: `s3.addressing_style`. */
type Profile = Record<string, string | undefined>;

export interface S3Settings {
  region: string;
  endpoint: URL | undefined;
  /** The bucket's name is in the path. */
  isPathStyle: boolean;
  /** Certificates in PEM that the server's must be signed by, instead of those that the system trusts. */
  ca: string | undefined;
  /** Checksums beside MD5 and the signature are as the settings ask, not as varve would have it. */
  hasChecksumSetting: { request: boolean; response: boolean };
}

export interface S3Options {
  /** Wins over that of the environment and the profile. */
  endpoint?: string | undefined;
  /** The AWS profile to use instead of the environment's credentials. */
  profile?: string | undefined;
  /** Wins over the profile's `addressing_style`. */
  addressing?: Addressing | undefined;
}

export async function readSettings(options: S3Options, env: Environment): Promise<S3Settings> {
  const profile = await readProfile(options.profile ?? env["AWS_PROFILE"]) ?? {};
  const endpoint = await endpointOf(options);
  const has = (name: string) => Boolean(env[`AWS_${name.toUpperCase()}`] || profile[name]);
  return {
    region: await regionOf(options, { env, profile, endpoint }),
    endpoint,
    isPathStyle: isPathStyle(options.addressing ?? profile["s3.addressing_style"], endpoint),
    ca: await readCertificates(env["AWS_CA_BUNDLE"] || profile["ca_bundle"]),
    hasChecksumSetting: {
      request: has("request_checksum_calculation"),
      response: has("response_checksum_validation"),
    },
  };
}

/** The profile of that name, or the default one; `undefined` where neither of the two files has it. */
export async function readProfile(
  name = "default",
  options: { ignoreCache?: boolean } = {},
): Promise<Profile | undefined> {
  return (await parseKnownFiles(options))[name];
}

/** The SDK reads the variables and the profile's sections that may name it. */
async function endpointOf({ endpoint, profile }: S3Options): Promise<URL | undefined> {
  const identity = profile === undefined ? {} : { profile };
  const probe = new S3Client({ ...OWN_DEFAULTS, region: DEFAULT_REGION, ...identity });
  const text = endpoint ?? await probe.config.serviceConfiguredEndpoint?.();
  probe.destroy();
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw new UsageError(
    'Cannot use the S3 endpoint: expected an address such as "https://s3.example.com:9000"',
  );
}

/** Only for AWS itself may the machine that this runs on be asked, by the SDK: elsewhere there is nobody to answer. */
async function regionOf(
  { profile: named }: S3Options,
  { env, profile, endpoint }: { env: Environment; profile: Profile; endpoint: URL | undefined },
): Promise<string> {
  // A profile that is named by an option stands for the whole of the environment's identity.
  const own = named === undefined ? env["AWS_REGION"] || profile["region"] : profile["region"];
  const known = own || env["AWS_REGION"] || env["AWS_DEFAULT_REGION"];
  if (known) return known;
  if (endpoint !== undefined) return DEFAULT_REGION;
  const probe = new S3Client(OWN_DEFAULTS);
  const region = await probe.config.region().catch(() => DEFAULT_REGION);
  probe.destroy();
  return region;
}

async function readCertificates(path: string | undefined): Promise<string | undefined> {
  if (!path) return undefined;
  const refuse = (state: string, cause?: unknown) =>
    new UsageError(`Cannot read the certificates "${path}" (AWS_CA_BUNDLE or ca_bundle): ${state}`, {
      cause,
    });
  const text = await readFile(path, "utf8").catch((error) => {
    throw refuse(error.code === "ENOENT" ? "no such file" : describeError(error));
  });
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw refuse("it has no certificate in PEM format");
}
