/** A folder for a test file's caches, removed after its tests. */
import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "varve-cache-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
