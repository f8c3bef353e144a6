/** From the options that every command takes to what the engine wants: store, secret, log, and when to stop. */
import { availableParallelism, homedir } from "node:os";
import * as path from "node:path";
import { type Context, systemClock } from "../engine/context.ts";
import type { Secret } from "../engine/project.ts";
import { InterruptedError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import { Problems } from "./problems.ts";
import type { GlobalOptions, Invocation } from "./root.ts";
import { type Environment, readSecret } from "./secret.ts";

export interface Session {
  context: Context;
  store: Store;
  secret: Secret;
  /** No repository was named: the first backup may make this one. */
  isDefaultStore: boolean;
}

export interface Command {
  options: GlobalOptions;
  invocation: Invocation;
  /** What Ctrl-C leaves behind. */
  interrupted: string;
  /** The command works without a secret: one that is lost or cannot be read is not asked for. */
  needsNoSecret?: boolean;
}

/**
 * Opens what the options name, runs the command, and closes the store whatever happened. Throws `damage` in the end where
 * the engine has told of problems on the way.
 */
export async function withSession(
  { options, invocation, interrupted, needsNoSecret }: Command,
  run: (session: Session) => Promise<void>,
): Promise<void> {
  const secret = needsNoSecret ? { kind: "none" } as const : readSecret(options, invocation.env);
  const problems = new Problems(invocation.screen);
  const context = { ...await createContext(options, invocation), onProblem: problems.tell };
  const store = await openNamedStore(options, { context, invocation });
  try {
    await run({ context, store, secret, isDefaultStore: options.repo === undefined });
    problems.check(store.url);
  } catch (error) {
    if (!invocation.signal.aborted || saysMore(error, invocation.signal)) throw error;
    // Whatever fails after Ctrl-C (a child that got it too, a closed socket) was interrupted.
    context.log.debug({ err: error }, "ended by");
    throw new InterruptedError(`Interrupted: ${interrupted}`);
  } finally {
    await store.close();
  }
}

/** The engine knows better what is left behind. */
function saysMore(error: unknown, signal: AbortSignal): boolean {
  return error instanceof InterruptedError && error !== signal.reason;
}

async function openNamedStore(
  options: GlobalOptions,
  { context, invocation }: { context: Context; invocation: Invocation },
): Promise<Store> {
  return await openOtherStore(options.repo ?? defaultRepository(invocation.env, homedir()), {
    options,
    context,
  });
}

export interface OtherStoreOptions {
  options: GlobalOptions;
  context: Context;
  /** Where S3 is, and as whom, instead of what the options and the environment say. */
  s3?: { endpoint: string | undefined; profile: string | undefined } | undefined;
}

/** Opens any store as the options say: a command may work with a second one. */
export async function openOtherStore(
  url: string,
  { options, context, s3 }: OtherStoreOptions,
): Promise<Store> {
  const { openStore } = await import("../store/open.ts");
  return await openStore(url, {
    s3Endpoint: s3 === undefined ? options.s3Endpoint : s3.endpoint,
    s3Profile: s3?.profile,
    s3Addressing: options.s3Addressing,
    s3TimeoutMs: options.s3Timeout === undefined ? undefined : options.s3Timeout * 1000,
    retryForMs: options.retryFor,
    bytesPerSecond: options.limitRate,
    onRetry: (line, level) => context.log[level]({}, line),
    onWarning: (line) => context.log.warn({}, line),
  });
}

export function defaultRepository(env: Environment, home: string): string {
  return path.join(xdgFolder(env.XDG_DATA_HOME, path.join(home, ".local", "share")), "varve", "repository");
}

/** What is below it may be deleted at any time. */
export function cacheFolder(env: Environment, home: string): string {
  return path.join(xdgFolder(env.XDG_CACHE_HOME, path.join(home, ".cache")), "varve");
}

/** XDG Base Directory Specification: a relative name is to be ignored. */
function xdgFolder(named: string | undefined, otherwise: string): string {
  return named !== undefined && path.isAbsolute(named) ? named : otherwise;
}

async function createContext(options: GlobalOptions, { env, screen, signal }: Invocation): Promise<Context> {
  const { createLogger } = await import("./logger.ts");
  const log = await createLogger(screen, {
    level: options.logLevel ?? (options.quiet ? "error" : "warn"),
    format: options.logFormat ?? (screen.isTerminal ? "pretty" : "json"),
  });
  const { openCacheRoot } = await import("../cache/cache_root.ts");
  const cacheRoot = await openCacheRoot(cacheFolder(env, homedir()), {
    onWarning: (line) => log.warn({}, line),
    onDebug: (line) => log.debug({}, line),
  });
  return { signal, log, clock: systemClock, threads: availableParallelism(), jobs: options.jobs, cacheRoot };
}
