/** Images of a real cluster, for tests: made and changed by the rbd tool, every call of which has a time limit. */
import { encodeDiff, type TestRecord } from "./rbd_stream.ts";
import { noise } from "./engine.ts";
import { sumOf } from "./chains.ts";
import type { Sum } from "./workbench.ts";

export const KIB = 1024;
export const MIB = 1024 * KIB;
const RBD_LIMIT_S = 60;

/** A snapshot's name, or any other word of a command; bytes where it is not UTF-8. */
export type Word = string | Uint8Array;

/** `length` bytes at `offset` that no other seed has. */
export function write(seed: number, offset: number, length: number): TestRecord {
  return { tag: "w", offset, data: noise(seed, length) };
}

export function discard(offset: number, length: number): TestRecord {
  return { tag: "z", offset, length };
}

/** The words as a shell's. A child's arguments cannot hold bytes that are not UTF-8, a shell can make them. */
export function shellWords(words: readonly Word[]): string {
  return words.map((word) => typeof word === "string" ? quoted(word) : printed(word)).join(" ");
}

function quoted(word: string): string {
  return /^[\w./:=@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function printed(word: Uint8Array): string {
  return `"$(printf '${Array.from(word, (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("")}')"`;
}

/** The words of `rbd ARGS`, with its time limit. */
export function rbdWords(...args: Word[]): Word[] {
  return ["timeout", String(RBD_LIMIT_S), "rbd", ...args];
}

/** Runs a shell's line and returns what it printed; throws with its stderr when it failed. */
export async function shell(
  line: string,
  { env, stdin }: { env: Record<string, string>; stdin?: Uint8Array },
): Promise<Uint8Array> {
  const child = Bun.spawn(["bash", "-o", "pipefail", "-c", line], {
    env: { PATH: process.env.PATH ?? "", ...env },
    stdin: stdin ?? new Uint8Array(),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).bytes(),
    new Response(child.stderr).text(),
  ]);
  if (await child.exited !== 0) throw new Error(`${line}: exited with ${child.exitCode}: ${errors}`);
  return output;
}

export interface ImageOptions {
  sizeBytes: number;
  /** More arguments of `rbd create`. */
  create?: string[];
  /** Of the pool, which is there. */
  namespace?: string;
}

export class RbdImage {
  /** POOL/IMAGE or POOL/NAMESPACE/IMAGE. No other test has it. */
  readonly spec: string;
  readonly #env: Record<string, string>;
  #sizeBytes: number;

  private constructor(spec: string, { env, sizeBytes }: { env: Record<string, string>; sizeBytes: number }) {
    this.spec = spec;
    this.#env = env;
    this.#sizeBytes = sizeBytes;
  }

  /** `env` has the cluster's CEPH_CONF. */
  static async create(
    env: Record<string, string>,
    { sizeBytes, create = [], namespace }: ImageOptions,
  ): Promise<RbdImage> {
    const image = new RbdImage(newSpec(namespace), { env, sizeBytes });
    await image.#create(create);
    return image;
  }

  /** Removes the image with its snapshots, and makes another one, all zeros, under its name. */
  async remake(): Promise<void> {
    await this.rbd("snap", "purge", "--no-progress", this.spec);
    await this.rbd("rm", "--no-progress", this.spec);
    await this.#create([]);
  }

  async #create(args: string[]): Promise<void> {
    await this.rbd("create", this.spec, "--size", `${this.#sizeBytes}B`, ...args);
  }

  /** One that something else will make. */
  static unmade(env: Record<string, string>): RbdImage {
    return new RbdImage(newSpec(), { env, sizeBytes: 0 });
  }

  /** A clone of one of the image's snapshots. */
  async clone(snapshot: string): Promise<RbdImage> {
    const image = new RbdImage(newSpec(), { env: this.#env, sizeBytes: this.#sizeBytes });
    await this.rbd("snap", "protect", `${this.spec}@${snapshot}`);
    await this.rbd("clone", `${this.spec}@${snapshot}`, image.spec);
    return image;
  }

  /** Runs `rbd ARGS` and returns what it printed. */
  async rbd(...args: Word[]): Promise<Uint8Array> {
    return await shell(shellWords(rbdWords(...args)), { env: this.#env });
  }

  /** Brings the image to `sizeBytes` (it keeps its size if left out), and then makes the changes. */
  async change(records: TestRecord[], sizeBytes = this.#sizeBytes): Promise<void> {
    const stdin = encodeDiff([{ tag: "s", sizeBytes }, ...records, { tag: "e" }]);
    const line = shellWords(rbdWords("import-diff", "--no-progress", "-", this.spec));
    await shell(line, { env: this.#env, stdin });
    this.#sizeBytes = sizeBytes;
  }

  async snapshot(name: Word): Promise<void> {
    await this.rbd("snap", "create", "--no-progress", this.spec, "--snap", name);
  }

  async removeSnapshot(name: string): Promise<void> {
    await this.rbd("snap", "rm", "--no-progress", this.spec, "--snap", name);
  }

  /** Names, oldest first. */
  async snapshots(): Promise<string[]> {
    const list = JSON.parse(
      Buffer.from(await this.rbd("snap", "ls", "--format", "json", this.spec)).toString(),
    );
    return list.map(({ name }: { name: string }) => name);
  }

  /** Size and sum of what `rbd export` gives of a snapshot, or of the head. */
  async exported(snapshot?: Word): Promise<Sum> {
    return sumOf(await this.rbd("export", "--no-progress", this.spec, ...atSnapshot(snapshot), "-"));
  }

  /** The words of `rbd export-diff` that prints what changed between two snapshots. */
  exportDiff(range: { from?: Word | undefined; to?: Word | undefined }, ...args: Word[]): Word[] {
    const from = range.from === undefined ? [] : ["--from-snap", range.from];
    return rbdWords(
      "export-diff",
      "--no-progress",
      ...args,
      ...from,
      this.spec,
      ...atSnapshot(range.to),
      "-",
    );
  }
}

function atSnapshot(name: Word | undefined): Word[] {
  return name === undefined ? [] : ["--snap", name];
}

function newSpec(namespace?: string): string {
  return ["rbd", ...namespace === undefined ? [] : [namespace], `varve-test-${crypto.randomUUID()}`].join(
    "/",
  );
}
