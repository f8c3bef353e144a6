/** How tests open and read sources. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { openSource, type OpenSourceOptions } from "../../src/sources/open.ts";
import type { SourceSpec } from "../../src/sources/source_spec.ts";
import type { Source } from "../../src/sources/source.ts";
import { type ReadDiff, readDiff } from "./rbd_stream.ts";

export function makeFifo(path: string): string {
  execFileSync("mkfifo", [path]);
  return path;
}

export function open(spec: SourceSpec | string, options: Partial<OpenSourceOptions> = {}): Promise<Source> {
  const defaults = { format: "auto", signal: new AbortController().signal, stderr: { write() {} } } as const;
  return openSource(typeof spec === "string" ? { path: spec } : spec, { ...defaults, ...options });
}

/** Reads all of `source`, extents in pieces of `pieceBytes`, and closes it. */
export async function readAll(source: Source, pieceBytes?: number): Promise<ReadDiff[]> {
  const diffs: ReadDiff[] = [];
  try {
    for await (const diff of source.diffs()) diffs.push(await readDiff(diff, pieceBytes));
    return diffs;
  } finally {
    await source.close();
  }
}

/** What `promise` fails with. */
export async function errorOf(
  promise: Promise<unknown>,
): Promise<Error & { code?: unknown; offset?: number }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("It did not fail");
}

/** How standard input is opened shows in a process of its own, which `shell` starts as `"$0" "$1"`; what it prints. */
export async function readStdin(
  scratch: (name: string) => string,
  { shell, format }: { shell: string; format: OpenSourceOptions["format"] },
): Promise<string> {
  const program = `
    import { openSource } from ${JSON.stringify(path.join(import.meta.dir, "../../src/sources/open.ts"))};
    try {
      const source = await openSource({ path: "-" }, { format: "${format}", signal: new AbortController().signal });
      for await (const diff of source.diffs()) {
        for await (const extent of diff.extents()) await extent.read?.(new Uint8Array(extent.length));
        console.log(source.name, diff.sizeBytes);
      }
    } catch (error) {
      console.log(error.code, error.message);
    }`;
  fs.writeFileSync(scratch("program.ts"), program);
  const child = Bun.spawn(["sh", "-c", shell, process.execPath, scratch("program.ts")], { stdout: "pipe" });
  return (await new Response(child.stdout).text()).trim();
}
