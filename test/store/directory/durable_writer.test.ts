import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { DirectoryRoot } from "../../../src/store/directory/root.ts";
import { DurableWriter } from "../../../src/store/directory/durable_writer.ts";
import { rejection } from "../../kit/rejection.ts";
import { bytes } from "../../kit/store_contract.ts";
import { scratchFolder } from "../../kit/scratch.ts";

const folder = scratchFolder();

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
