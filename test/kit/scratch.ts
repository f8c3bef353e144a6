/** Folders for the files of a test file, or of one `describe`. */
import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new folder, removed after the tests of the file or `describe` that asks for it. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "varve-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The same, as the function from a name to the path of that file in the folder. */
export function scratchPaths(): (name: string) => string {
  const folder = scratchFolder();
  return (name) => join(folder, name);
}
