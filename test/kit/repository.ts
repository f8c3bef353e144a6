/** A repository of an end-to-end test, which knows every restore point that it should hold, and its bytes. */
import { expect } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { BackupInfo } from "../../src/project/catalog.ts";
import { fullStream } from "./rbd_stream.ts";
import { startVarve, varve, varveBytes, varveJson, type VarveOptions, type VarveResult } from "./varve.ts";

/** The smallest that there is: small volumes have many chunks. */
export const CHUNK_BYTES = 64 * 1024;
/** For a test of many runs on a busy machine; only one that hangs gets there. */
export const RUN_LIMIT_MS = 120_000;

/** Where the repository is; a directory in the scratch folder if nothing is said. */
export interface Place {
  url?: string | undefined;
  env?: Record<string, string> | undefined;
  /** Projects that it has, not encrypted; `acme` if nothing is said. */
  projects?: readonly string[] | undefined;
  /** Mounts something on the new folder `path`, in which the repository is made. */
  mount?: ((path: string) => void) | undefined;
}

export class TestRepository {
  /** Holds the repository, where it is a directory, and is free for the test's files. */
  readonly folder: string;
  readonly url: string;
  readonly env: Record<string, string>;
  /** By `PROJECT/VOLUME@BACKUP`. */
  readonly #points = new Map<string, Uint8Array>();

  private constructor(folder: string, place: Place) {
    this.folder = folder;
    this.url = place.url ?? join(folder, place.mount ? "mount" : "", "repository");
    const home = { XDG_CACHE_HOME: join(folder, "cache"), XDG_STATE_HOME: join(folder, "state") };
    this.env = { ...place.env, VARVE_REPO: this.url, ...home };
  }

  static async make(place: Place = {}): Promise<TestRepository> {
    const repository = new TestRepository(await mkdtemp(join(tmpdir(), "varve-e2e-")), place);
    place.mount?.(repository.path("mount"));
    const projects = place.projects ?? ["acme"];
    await repository.json(["init", ...projects, "--no-encryption", "--chunk-size", String(CHUNK_BYTES)]);
    return repository;
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Runs a command on this repository; `env` is added to the repository's own. */
  async run(args: readonly string[], options: VarveOptions = {}): Promise<VarveResult> {
    return await varve(args, this.#options(options));
  }

  async json<T>(args: readonly string[], options: VarveOptions = {}): Promise<T> {
    return await varveJson<T>(args, this.#options(options));
  }

  start(args: readonly string[], options: VarveOptions = {}) {
    return startVarve(args, this.#options(options));
  }

  /** A full backup of `bytes` that has to succeed, by an rbd stream with snapshot `snapshot`. */
  async backUp(volume: string, bytes: Uint8Array, { snapshot = "s1", ...options }: BackUpOptions = {}) {
    const stdin = fullStream(bytes, snapshot);
    const report = await this.json<BackupReport>(["backup", volume], { ...options, stdin });
    this.expectPoint(volume, report.backup, bytes);
    return report;
  }

  /** From now on the repository should hold this point, too. */
  expectPoint(volume: string, backup: string, bytes: Uint8Array): void {
    this.#points.set(`${volume}@${backup}`, bytes);
  }

  /** It should not be there any more. */
  expectNoPoint(volume: string, backup: string): void {
    this.#points.delete(`${volume}@${backup}`);
  }

  /** The points that should be there are listed, and no other. */
  async expectNothingNew(options: VarveOptions = {}): Promise<void> {
    expect((await this.#list(options)).toSorted()).toEqual([...this.#points.keys()].toSorted());
  }

  /**
   * After a backup of `bytes` that may have been ended anywhere: behind its manifest's write it is there, and then it
   * must be whole, so from now on the repository should hold it.
   */
  async adoptIfCommitted(bytes: Uint8Array): Promise<void> {
    const unknown = (await this.#list({})).filter((point) => !this.#points.has(point));
    expect(unknown.length).toBeLessThanOrEqual(1);
    for (const point of unknown) this.#points.set(point, bytes);
  }

  /** `PROJECT/VOLUME@BACKUP` of all there are. */
  async #list(options: VarveOptions): Promise<string[]> {
    const listed = await this.json<BackupInfo[]>(["list"], options);
    return listed.map(({ project, volume, backup }) => `${project}/${volume}@${backup}`);
  }

  /** Besides, each of them restores as it was. */
  async expectIntact(options: VarveOptions = {}): Promise<void> {
    await this.expectNothingNew(options);
    for (const [point, bytes] of this.#points) await this.#expectRestored(point, bytes, options);
  }

  async #expectRestored(point: string, bytes: Uint8Array, options: VarveOptions): Promise<void> {
    const restored = await varveBytes(["restore", point, "--to", "-"], this.#options(options));
    expect({ point, code: restored.code, stderr: restored.stderr }).toEqual({ point, code: 0, stderr: "" });
    expect({ point, same: Buffer.from(restored.bytes).equals(bytes) }).toEqual({ point, same: true });
  }

  #options(options: VarveOptions): VarveOptions {
    return { ...options, env: { ...this.env, ...options.env } };
  }
}

interface BackUpOptions extends VarveOptions {
  snapshot?: string;
}

/** Bytes that do not compress, always the same ones of a seed (SHA-256 in counter mode). */
export function noise(sizeBytes: number, seed: string | number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 32) {
    bytes.set(createHash("sha256").update(`${seed} ${at}`).digest().subarray(0, sizeBytes - at), at);
  }
  return bytes;
}

/**
 * A failure as the operator should see it: a code, nothing on standard output, one line without a stack trace. Of a run with
 * `--json` that line is a document, which says the same.
 */
export function expectOneLine(result: VarveResult, expected: { code: number; line: RegExp | string }): void {
  const { code, stdout } = result;
  const stderr = lastLineText(result);
  expect({ code, stdout, stderr }).toEqual({
    code: expected.code,
    stdout: "",
    stderr: expect.stringMatching(/^varve: [^\n]+\n$/),
  });
  expect(stderr).toMatch(expected.line);
  expect(stderr).not.toMatch(/\.[jt]s:\d/);
}

/** Standard error, its last line as it is without `--json`. */
export function lastLineText({ code, stderr }: Pick<VarveResult, "code" | "stderr">): string {
  const [, before = "", last] = /^(.*\n)?(\{"error":.*\}\n)$/s.exec(stderr) ?? [];
  if (last === undefined) return stderr;
  const { error } = JSON.parse(last) as { error: { exit: number; message: string } };
  expect(error.exit).toBe(code!);
  return `${before}varve: ${error.message}\n`;
}
