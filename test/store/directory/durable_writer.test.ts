import { afterAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryRoot } from "../../../src/store/directory/root.ts";
import { DurableWriter } from "../../../src/store/directory/durable_writer.ts";
import { bytes, rejection } from "../contract.ts";

const folder = await mkdtemp(join(tmpdir(), "varve-writer-"));
afterAll(() => rm(folder, { recursive: true }));

test("write() makes the root at first, and not again when it went away meanwhile", async () => {
  const root = join(folder, "made/by/write");
  const writer = new DurableWriter(new DirectoryRoot(root));
  await writer.write("a/b/c", bytes("x"));
  await rename(root, `${root}.moved`);
  for (const name of ["a/b/d", "e/f/g", "h"]) {
    expect(String(await rejection(writer.write(name, bytes("x"))))).toContain("unmounted or replaced");
  }
  expect(existsSync(root)).toBe(false);
});
