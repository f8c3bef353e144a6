/** Credentials from the SDK's own chain, and errors that say what in it failed. Part of the S3 store. */
import { fromIni } from "@aws-sdk/credential-provider-ini";
import type { S3Client } from "@aws-sdk/client-s3";
import { homedir } from "node:os";
import { join } from "node:path";
import { describeError } from "../../errors.ts";
import type { Environment } from "./proxy.ts";
import { readProfile } from "./settings.ts";

/** There are no credentials: the message is a state, such as `there are no credentials: …`. */
export class CredentialsError extends Error {
  override readonly name = "CredentialsError";
}

type Provider = Extract<S3Client["config"]["credentials"], (...args: never[]) => unknown>;

interface CredentialsOptions {
  /** The profile of the option, if there is one. */
  profile: string | undefined;
  env: Environment;
  /** The SDK's chain, for everything that no profile is named for. */
  chain: Provider;
}

/**
 * A profile that is named has to give them: the SDK would go on, and end as the machine that this runs on, or with no
 * word of what failed.
 */
export function credentialsOf({ profile, env, chain }: CredentialsOptions): Provider {
  return async (options) => {
    const named = profile ?? (env["AWS_PROFILE"] || undefined);
    try {
      // They have expired: what has renewed them may have written them into the files, which the SDK reads once.
      if (options?.forceRefresh === true) await readProfile(named, { ignoreCache: true });
      const own = named ?? await ownProfile(env);
      if (own === undefined) return await chain(options);
      // The SDK hands its own settings on, which a role is assumed by.
      return await fromIni({ profile: own })(options as Parameters<ReturnType<typeof fromIni>>[0]);
    } catch (cause) {
      const state = await stateOf(cause, { named, env });
      if (state === undefined) throw cause;
      throw new CredentialsError(state, { cause });
    }
  };
}

/** `default`, where it has a process that is the only way to credentials. */
async function ownProfile(env: Environment): Promise<string | undefined> {
  if (env["AWS_ACCESS_KEY_ID"] && env["AWS_SECRET_ACCESS_KEY"]) return undefined;
  const profile = await readProfile();
  return profile?.["credential_process"] === undefined || profile["aws_access_key_id"]
    ? undefined
    : "default";
}

/** What failed and is not the line's fault; `undefined` for what may pass. */
async function stateOf(
  error: unknown,
  { named, env }: { named: string | undefined; env: Environment },
): Promise<string | undefined> {
  const { code, path, name } = (error ?? {}) as { code?: unknown; path?: unknown; name?: unknown };
  if (typeof path === "string" && typeof code === "string" && !path.includes("://")) {
    const source = path === env["AWS_WEB_IDENTITY_TOKEN_FILE"] ? " (AWS_WEB_IDENTITY_TOKEN_FILE)" : "";
    return `cannot read the credentials from "${path}"${source}: ${
      code === "ENOENT" ? "no such file" : code
    }`;
  }
  if (name !== "CredentialsProviderError") return undefined;
  const profile = await readProfile(named);
  if (named !== undefined && profile === undefined) {
    return `profile "${named}" is not in ${filesOf(env).map((file) => `"${file}"`).join(" or ")}`;
  }
  const command = profile?.["credential_process"];
  if (command !== undefined) {
    // Node puts the command in front of what it says.
    const words = describeError(error).replace("Command failed: ", "").replace(command, "").trim();
    return `the credential_process of profile "${named ?? "default"}" failed: ${words || "no reason given"}`;
  }
  if (named !== undefined) return `profile "${named}" provides no credentials: ${describeError(error)}`;
  const [missing] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].filter((variable) => !env[variable]);
  const isHalf = missing !== undefined && (env["AWS_ACCESS_KEY_ID"] || env["AWS_SECRET_ACCESS_KEY"]);
  if (isHalf) return `no credentials: ${missing} is not set`;
  return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile";
}

function filesOf(env: Environment): string[] {
  const folder = join(env["HOME"] || homedir(), ".aws");
  return [
    env["AWS_CONFIG_FILE"] || join(folder, "config"),
    env["AWS_SHARED_CREDENTIALS_FILE"] ||
    join(folder, "credentials"),
  ];
}
