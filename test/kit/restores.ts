/** Restores onto real files in this process: what a test says, and what most of them have for the rest. */
import { existsSync, readFileSync } from "node:fs";
import type { Logger } from "../../src/context.ts";
import type { Repository } from "../../src/project/repository.ts";
import { restore, type RestoreOptions, type RestoreReport } from "../../src/engine/restore/restore.ts";
import { openTarget } from "../../src/targets/open.ts";
import type { Target } from "../../src/targets/target.ts";
import { CHUNK_BYTES, PROJECT, testContext, VOLUME, type Where } from "./engine.ts";

type Chosen = Partial<Omit<RestoreOptions, "openTarget">>;

export interface FileRestore extends Where, Chosen {
  /** The target that the restore is given in place of the file's own. */
  wrap?: (target: Target) => Target;
}

/** Restores onto the file at `path` as the program does. */
export async function restoreFile(
  repository: Repository,
  path: string,
  { context = testContext(), wrap = (target) => target, ...chosen }: FileRestore = {},
): Promise<RestoreReport> {
  const options = {
    ...{ project: PROJECT, volume: VOLUME, point: undefined, secrets: [] },
    ...{ keepGoing: false, trustCache: true, dryRun: false, verifyTarget: false },
    ...chosen,
  };
  const { part, dryRun } = options;
  return await restore(repository, {
    ...options,
    openTarget: async ({ end }) =>
      wrap(
        await openTarget(path, {
          sizeBytes: end,
          partFrom: part?.offset,
          readOnly: dryRun,
          resize: true,
          force: false,
          signal: context.signal,
        }),
      ),
  }, context);
}

/** The target with some of its methods replaced. */
export function changed(target: Target, methods: Partial<Target>): Target {
  return new Proxy(target, {
    get(_, name: keyof Target) {
      const value = methods[name] ?? target[name];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** The bytes of a file; `undefined` where there is none. */
export function contentOf(path: string): Uint8Array | undefined {
  return existsSync(path) ? new Uint8Array(readFileSync(path)) : undefined;
}

/** The file has exactly these bytes. Says where it has not, and not what all of them are. */
export function expectContent(path: string, wanted: Uint8Array): void {
  const content = contentOf(path);
  if (content !== undefined && Buffer.compare(content, wanted) === 0) return;
  const at = content?.findIndex((byte, i) => byte !== wanted[i]);
  throw new Error(`"${path}" has ${content?.length} bytes of ${wanted.length}, another one at ${at}`);
}

/** A log that keeps its warnings, the texts only. */
export function warnings(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const say = () => {};
  return {
    lines,
    log: { debug: say, info: say, warn: (_, text) => lines.push(text), error: (_, text) => lines.push(text) },
  };
}

/** Chunks of `wanted` that are not zeros, and not on the target as they are. */
export function differing(there: Uint8Array, wanted: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < wanted.length; at += CHUNK_BYTES) {
    const chunk = wanted.subarray(at, at + CHUNK_BYTES);
    const isThere = at + chunk.length <= there.length &&
      Buffer.compare(chunk, there.subarray(at, at + chunk.length)) === 0;
    if (!isThere && chunk.some((byte) => byte !== 0)) count++;
  }
  return count;
}
