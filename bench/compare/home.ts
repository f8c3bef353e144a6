/** A folder in which one program has a repository and its own local state, and which can be put back as it was. */
import { lstat, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { bucketObjects, type Buckets } from "./buckets.ts";
import { run } from "../report/measure.ts";
import type { Program, S3Place } from "./programs.ts";

export interface HomeOptions {
  program: Program;
  /** A path that is free, with room beside it. */
  folder: string;
  /** Where the repository is to be in a bucket. */
  buckets?: Buckets | undefined;
}

export class Home {
  readonly folder: string;
  readonly #program: Program;
  readonly #buckets: Buckets | undefined;
  #s3: S3Place | undefined;
  /** What the files, and the objects in the bucket, were like when they were saved. */
  #saved: { files: Map<string, string>; objects: Map<string, string> } | undefined;

  constructor({ program, folder, buckets }: HomeOptions) {
    this.folder = folder;
    this.#program = program;
    this.#buckets = buckets;
  }

  get repository(): string {
    return `${this.folder}/repository`;
  }

  /** The bucket of the repository, once it is made. */
  get s3(): S3Place | undefined {
    return this.#s3;
  }

  /** The environment of every script here. */
  get env(): Record<string, string> {
    const { folder, repository } = this;
    const { PATH = "" } = process.env;
    return {
      PATH,
      HOME: folder,
      LANG: "C.UTF-8",
      ...this.#program.env({ folder, repository, s3: this.#s3 }),
    };
  }

  /** An empty repository, and nothing else. */
  async fresh(): Promise<void> {
    await this.remove();
    await mkdir(this.folder, { recursive: true });
    this.#s3 = await this.#buckets?.make();
    await this.run(this.#program.init);
  }

  /** A repository in the state that `script` makes of an empty one, whatever happened to it since. */
  async ready(script: string): Promise<void> {
    if (this.#saved !== undefined) {
      await this.#putBackFiles(this.#saved.files);
      return await this.#putBackObjects(this.#saved.objects);
    }
    await this.fresh();
    await this.run(script);
    await run(`rm -rf '${this.#copy}'; cp -a '${this.folder}' '${this.#copy}'`);
    this.#saved = { files: await filesOf(this.folder), objects: await this.#objects() };
  }

  run(script: string): Promise<string> {
    return run(script, { env: this.env, cwd: this.folder });
  }

  async storedBytes(): Promise<number> {
    if (this.#s3 !== undefined) {
      return [...(await bucketObjects(this.#s3)).values()].reduce((sum, { bytes }) => sum + bytes, 0);
    }
    return Number(
      await run(
        `find '${this.repository}' -type f -printf '%s\\n' | awk '{ sum += $1 } END { print sum + 0 }'`,
      ),
    );
  }

  async remove(): Promise<void> {
    await run(`rm -rf '${this.folder}' '${this.#copy}'`);
    if (this.#s3 !== undefined) await this.#buckets?.remove(this.#s3);
    this.#s3 = this.#saved = undefined;
  }

  get #copy(): string {
    return `${this.folder}.saved`;
  }

  async #objects(): Promise<Map<string, string>> {
    if (this.#s3 === undefined) return new Map();
    return new Map([...await bucketObjects(this.#s3)].map(([key, { etag }]) => [key, etag]));
  }

  /** What came is removed. Nobody is expected to change or delete what was there. */
  async #putBackObjects(saved: Map<string, string>): Promise<void> {
    if (this.#s3 === undefined) return;
    await this.#buckets?.remove(this.#s3, new Set(saved.keys()));
    const now = await this.#objects();
    const other = [...saved].find(([key, etag]) => now.get(key) !== etag);
    if (other === undefined) return;
    throw new Error(`${this.#program.name} changed or deleted "${other[0]}", which its next run would need`);
  }

  async #putBackFiles(saved: Map<string, string>): Promise<void> {
    const now = await filesOf(this.folder);
    for (const path of now.keys()) if (!saved.has(path)) await rm(join(this.folder, path));
    for (const [path, state] of saved) {
      if (now.get(path) === state) continue;
      await run(`mkdir -p "$(dirname '${path}')"; cp -a '${this.#copy}/${path}' '${path}'`, {
        cwd: this.folder,
      });
      saved.set(path, await stateOf(join(this.folder, path)));
    }
  }
}

async function filesOf(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(folder.length + 1), await stateOf(path));
  }
  return files;
}

/** Changes with every write to a file, whoever sets its times. */
async function stateOf(path: string): Promise<string> {
  const { ino, size, ctimeNs } = await lstat(path, { bigint: true });
  return `${ino} ${size} ${ctimeNs}`;
}
