/**
 * Reads a snapshot in a process of its own, whose environment its children have: `bun read_snapshot.ts JSON`, with the options
 * of a reader and the reads as `[offset, length]`. Prints as JSON the SHA-256 of each, or why it cannot be read.
 */
import { createHash } from "node:crypto";
import { RbdReader, type RbdReaderOptions } from "../../src/rbd/reader.ts";

export interface Reading {
  options: Omit<RbdReaderOptions, "signal">;
  reads: [offset: number, length: number][];
}

async function read({ options, reads }: Reading): Promise<string[]> {
  const reader = await RbdReader.open({ ...options, signal: new AbortController().signal });
  const results: string[] = [];
  for (const [offset, length] of reads) {
    const into = new Uint8Array(new SharedArrayBuffer(length));
    const sum = () => createHash("sha256").update(into.slice()).digest("hex");
    results.push(await reader.readAt(into, offset).then(sum, (error) => error.message));
  }
  await reader.close();
  await reader.close();
  return results;
}

if (import.meta.main) {
  const results = await read(JSON.parse(process.argv[2]!)).catch((error) => [error.message]);
  console.log(JSON.stringify(results));
}
