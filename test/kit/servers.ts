/** Starts the real servers by the scripts that a maintainer also uses, and reads the settings that they print. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Server {
  /** The `export` lines of its env file. */
  env: Record<string, string>;
  /** Ends it, unless it is shared by the whole run. */
  stop: () => Promise<void>;
}

/**
 * The server whose env file the variable `shared` names, which scripts/test has started for the whole run; else a new
 * one by `up` and `down`, paths of scripts with their arguments, to which a new folder is added.
 */
export async function startServer(shared: string, up: string[], down: string[]): Promise<Server> {
  const envFile = process.env[shared];
  if (envFile) return { env: parseEnv(await Bun.file(envFile).text()), stop: () => Promise.resolve() };
  const folder = await mkdtemp(join(tmpdir(), "varve-server-"));
  const stop = async () => {
    await runScript([...down, folder]);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return { env: parseEnv(await runScript([...up, folder])), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Runs a script and resolves to its standard output; rejects with its standard error. */
async function runScript(command: string[]): Promise<string> {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if (await child.exited !== 0) throw new Error(`${command.join(" ")} failed: ${errors}`);
  return output;
}

function parseEnv(text: string): Record<string, string> {
  const entries = text.matchAll(/^export (\w+)=(.*)$/gm);
  return Object.fromEntries(Array.from(entries, ([, name = "", value = ""]) => [name, value]));
}
