/** A test file's repository in a directory, with a folder for its files beside it, and the program run on them. */
import { join } from "node:path";
import type { BackupInfo } from "../../src/project/catalog.ts";
import { varve, varveBytes, varveJson, type VarveOptions, type VarveResult } from "./varve.ts";
import { type Point, sumOf, sumOfFile } from "./chains.ts";

/** Size and sum of a restored volume. */
export type Sum = Pick<Point, "size_bytes" | "sha256">;

export class Workbench {
  readonly folder: string;
  /** What the program is given: the repository's address, secrets, credentials. */
  readonly env: Record<string, string>;

  /**
   * `env` names the repository by `VARVE_REPO`, unless it is the directory `repository` in the folder. What the program
   * remembers is in the folder, too.
   */
  constructor(folder: string, env: Record<string, string> = {}) {
    this.folder = folder;
    const home = { XDG_CACHE_HOME: this.path("cache"), XDG_STATE_HOME: this.path("state") };
    this.env = { VARVE_REPO: this.path("repository"), ...home, ...env };
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async run(args: readonly string[], options: VarveOptions = {}): Promise<VarveResult> {
    return await varve(args, { ...options, env: { ...this.env, ...options.env } });
  }

  /** Runs what has to succeed; its JSON. */
  async json<T>(args: readonly string[], options: VarveOptions = {}): Promise<T> {
    return await varveJson<T>(args, { ...options, env: { ...this.env, ...options.env } });
  }

  async list(name: string): Promise<BackupInfo[]> {
    return await this.json<BackupInfo[]>(["list", name]);
  }

  /** Restores onto a file, in place where it exists, which it may make smaller. */
  async restoreToFile(point: string, file: string): Promise<Sum> {
    await this.json(["restore", point, "--to", file, "--resize"]);
    return await sumOfFile(file);
  }

  /** Restores to standard output. */
  async restoreToPipe(point: string): Promise<Sum> {
    const { code, bytes, stderr } = await varveBytes(["restore", point, "--to", "-"], { env: this.env });
    if (code !== 0) throw new Error(`varve restore ${point} exited with ${code}: ${stderr}`);
    return sumOf(bytes);
  }
}
