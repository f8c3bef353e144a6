/** From the options that every command takes to what the engine wants: store, secret, log, and when to stop. */
import { availableParallelism, homedir } from "node:os";
import * as path from "node:path";
import { type Context, systemClock } from "../engine/context.ts";
import type { Secret } from "../engine/project.ts";
import type { Store } from "../store/store.ts";
import type { GlobalOptions, Invocation } from "./root.ts";
import { type Environment, readSecret } from "./secret.ts";

export interface Session {
  context: Context;
  store: Store;
  secret: Secret;
  /** No repository was named: the first backup may make this one. */
  isDefaultStore: boolean;
}

/** Opens what `options` name, runs the command, and closes the store whatever happened. */
export async function withSession(
  given: { options: GlobalOptions; invocation: Invocation },
  run: (session: Session) => Promise<void>,
): Promise<void> {
  const { options, invocation } = given;
  const secret = readSecret(options, invocation.env);
  const context = await createContext(options, invocation);
  const { openStore } = await import("../store/open.ts");
  const store = await openStore(options.repo ?? defaultRepository(invocation.env, homedir()), {
    ...(options.s3Endpoint === undefined ? {} : { s3Endpoint: options.s3Endpoint }),
    onRetry: (line) => context.log.warn({}, line),
  });
  try {
    await run({ context, store, secret, isDefaultStore: options.repo === undefined });
  } finally {
    await store.close();
  }
}

/** XDG Base Directory Specification: a relative `XDG_DATA_HOME` is to be ignored. */
export function defaultRepository(env: Environment, home: string): string {
  const named = env.XDG_DATA_HOME ?? "";
  const data = path.isAbsolute(named) ? named : path.join(home, ".local", "share");
  return path.join(data, "varve", "repository");
}

async function createContext(options: GlobalOptions, { screen, signal }: Invocation): Promise<Context> {
  const { createLogger } = await import("./logger.ts");
  const log = await createLogger(screen, {
    level: options.logLevel ?? (options.quiet ? "error" : "warn"),
    format: options.logFormat ?? (screen.isTerminal ? "pretty" : "json"),
  });
  return { signal, log, clock: systemClock, threads: availableParallelism() };
}
