/** A folder for a test file's caches, removed after its tests. */
import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { OwnPath } from "../../src/os/own_path.ts";

export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "varve-cache-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The file at this path, in a cache whose root is the folder that it is in. */
export function cached(path: string): OwnPath {
  return { root: dirname(path), path: basename(path) };
}
