/** From the options that every command takes to what the engine wants: store, secrets, log, and when to stop. */
import { statSync } from "node:fs";
import { availableParallelism, homedir, hostname } from "node:os";
import * as path from "node:path";
import { type Context, type Logger, systemClock } from "../context.ts";
import type { Secret } from "../project/open_project.ts";
import { describeError, InterruptedError, NoRepositoryError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import { ClosedProjects } from "./closed_projects.ts";
import { Problems } from "./problems.ts";
import type { GlobalOptions, Invocation } from "./root.ts";
import { adviseNoRepository } from "./no_repository.ts";
import { type Environment, type ReadSecrets, readSecrets } from "./secrets.ts";

export interface Session {
  context: Context;
  store: Store;
  /** Each project takes what fits. */
  secrets: readonly Secret[];
  /** What a new project is made with one of. */
  preferred: readonly Secret[];
  /** Where the command is over all projects: those that it could not work on. */
  closed: ClosedProjects;
}

interface Command {
  options: GlobalOptions;
  invocation: Invocation;
  /** What Ctrl-C leaves behind. */
  interrupted: string;
  /** The command works without a secret: one that is lost or cannot be read is not asked for. */
  needsNoSecret?: boolean;
}

/**
 * Opens what the options name, runs the command, and closes the store whatever happened. What `run` returns says what was
 * done in spite of problems. Throws in the end where the
 * engine has told of problems on the way (`damage`), or projects were left out.
 */
export async function withSession(
  { options, invocation, interrupted, needsNoSecret }: Command,
  run: (session: Session) => Promise<string | void>,
): Promise<void> {
  const problems = new Problems(invocation.screen);
  const closed = new ClosedProjects(invocation.screen);
  const context = { ...await createContext(options, invocation), onProblem: problems.tell };
  const secrets = readSecretsUnless(needsNoSecret === true, { options, invocation, context });
  const store = await openNamedStore(options, { context, invocation });
  try {
    const done = await run({ context, store, ...secrets, closed });
    problems.check(store.url, done ?? undefined);
    closed.check(store.url);
  } catch (error) {
    if (error instanceof NoRepositoryError) {
      // What else lies near is nobody's business.
      const quiet = { ...context, log: { debug() {}, info() {}, warn() {}, error() {} } };
      const open = (url: string) => openOtherStore(url, { options, context: quiet, origin: undefined });
      const isNamed = options.repo !== undefined || error.url !== store.url;
      throw await adviseNoRepository(error, { isNamed, open, context: quiet });
    }
    if (!invocation.signal.aborted || saysMore(error, invocation.signal)) throw error;
    // Whatever fails after Ctrl-C (a child that got it too, a closed socket) was interrupted.
    context.log.debug({ err: error }, "ended by");
    throw new InterruptedError(`Interrupted: ${interrupted}`);
  } finally {
    await store.close();
  }
}

function readSecretsUnless(
  isSpared: boolean,
  { options, invocation, context }: Pick<Command, "options" | "invocation"> & { context: Context },
): ReadSecrets {
  try {
    return readSecrets(options, invocation.env, (line) => context.log.warn({}, line));
  } catch (error) {
    if (!isSpared) throw error;
    return { secrets: [], preferred: [] };
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
  const { repo = defaultRepository(invocation.env, homedir()) } = options;
  const origin = repo === invocation.env.VARVE_REPO ? "VARVE_REPO" : "--repo";
  return await openOtherStore(repo, { options, context, origin });
}

interface OtherStoreOptions {
  options: GlobalOptions;
  context: Context;
  /** The option or variable that names it. */
  origin: string | undefined;
  /** Where S3 is, and as whom, instead of what the options and the environment say. */
  s3?: { endpoint: string | undefined; profile: string | undefined } | undefined;
}

/** Opens any store as the options say: a command may work with a second one. */
export async function openOtherStore(
  url: string,
  { options, context, origin, s3 }: OtherStoreOptions,
): Promise<Store> {
  const { openStore } = await import("../store/open.ts");
  return await openStore(url, {
    s3Endpoint: s3 === undefined ? options.s3Endpoint : s3.endpoint,
    s3Profile: s3?.profile,
    s3Addressing: options.s3Addressing,
    s3TimeoutMs: options.s3Timeout === undefined ? undefined : options.s3Timeout * 1000,
    retryForMs: options.retryFor,
    bytesPerSecond: options.limitRate,
    origin,
    onRetry: (line, level) => context.log[level]({}, line),
    onWarning: (line) => context.log.warn({}, line),
    onRequest: options.logLevel === "trace"
      ? (request) => context.log.trace?.(request, "request")
      : undefined,
  });
}

export function defaultRepository(env: Environment, home: string): string {
  return path.join(xdgFolder(env.XDG_DATA_HOME, path.join(home, ".local", "share")), "varve", "repository");
}

/** What is below it may be deleted at any time. */
function cacheFolder(env: Environment, home: string): string {
  return path.join(xdgFolder(env.XDG_CACHE_HOME, path.join(home, ".cache")), "varve");
}

/** What is below it is not made again. `undefined` for a user without a home, where none can be. */
export function stateFolder(env: Environment, home: string): string | undefined {
  const named = env.XDG_STATE_HOME;
  const isNamed = named !== undefined && path.isAbsolute(named);
  if (!isNamed && statSync(home, { throwIfNoEntry: false })?.isDirectory() !== true) return undefined;
  return path.join(xdgFolder(named, path.join(home, ".local", "state")), "varve");
}

/** XDG Base Directory Specification: a relative name is to be ignored. */
function xdgFolder(named: string | undefined, otherwise: string): string {
  return named !== undefined && path.isAbsolute(named) ? named : otherwise;
}

async function createContext(options: GlobalOptions, { env, screen, signal }: Invocation): Promise<Context> {
  const { createLogger } = await import("./logger.ts");
  const log = await createLogger(screen, {
    level: options.logLevel ?? (options.quiet ? "error" : "warn"),
    format: options.logFormat ?? (options.json ? "json" : "pretty"),
  });
  const cacheRoot = await openCacheRoot(env, log);
  const onStateTrouble = stateTrouble(log);
  const stateRoot = await openStateRoot(env, { log, onStateTrouble });
  const { jobs } = options;
  return {
    ...{ signal, log, clock: systemClock, host: hostname(), threads: availableParallelism() },
    ...{ jobs, cacheRoot, stateRoot, onStateTrouble },
  };
}

async function openCacheRoot(env: Environment, log: Logger): Promise<string | undefined> {
  const { openOwnRoot } = await import("../os/own_root.ts");
  const root = cacheFolder(env, homedir());
  return await openOwnRoot(root, {
    below: path.dirname(path.dirname(root)),
    ...{ name: "cache", variable: "XDG_CACHE_HOME" },
    onStrange: (line) => log.warn({}, line),
    onMissing: (line) => log.debug({}, line),
  });
}

async function openStateRoot(
  env: Environment,
  { log, onStateTrouble }: { log: Logger; onStateTrouble: (error: unknown) => void },
): Promise<string | undefined> {
  const root = stateFolder(env, homedir());
  if (root === undefined) {
    log.debug({}, "no home directory: the restore points seen are not recorded");
    return undefined;
  }
  const { openOwnRoot } = await import("../os/own_root.ts");
  return await openOwnRoot(root, {
    ...{ name: "state", variable: "XDG_STATE_HOME" },
    onStrange: onStateTrouble,
    onMissing: onStateTrouble,
  });
}

/** One line in a run: what hinders one note hinders most of them. */
function stateTrouble(log: Logger): (error: unknown) => void {
  let isTold = false;
  return (error) => {
    const level = isTold ? "debug" : "warn";
    log[level]({}, `${describeError(error)}; a restore point that is lost may go unnoticed`);
    isTold = true;
  };
}
