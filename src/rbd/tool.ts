/**
 * Runs Ceph's own tools, `rbd` and `ceph`, and takes what they print. They find the cluster as they do everywhere: by
 * ceph.conf, and CEPH_ARGS for what is to be otherwise.
 */
import { VarveError } from "../errors.ts";
import { MIB } from "../format/limits.ts";
import type { ByteReader } from "../os/byte_reader.ts";
import { Producer } from "../os/child.ts";
import { producerInput } from "../os/input.ts";

/** More than a list of a hundred thousand snapshots; whatever prints more is not what was asked for. */
const MAX_OUTPUT_BYTES = 32 * MIB;

/** `rbd` and `ceph` end with the number of the system's error. */
export const ENOENT = 2;

export type CephCommand = readonly [program: "rbd" | "ceph", ...args: string[]];

/** Starts the command; what it says on stderr is kept for the error. Throws `failed` where it is not installed. */
export function startCephTool(command: CephCommand, signal: AbortSignal): Producer {
  const [program] = command;
  if (Bun.which(program) === null) {
    throw new VarveError(
      "failed",
      `Cannot run "${program}": it is not installed; install the package ceph-common`,
    );
  }
  return new Producer(command, { signal, stderr: { write: () => {} } });
}

/** What the command printed as JSON. Throws `ExitError` where it ended badly. */
export async function askCeph(command: CephCommand, signal: AbortSignal): Promise<unknown> {
  const text = await runCephTool([...command, "--format", "json"], signal);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new VarveError("failed", `Cannot run "${command[0]}": it did not print valid JSON`, { cause });
  }
}

/** What the command printed; what is not UTF-8 in it is replaced. Throws `ExitError` where it ended badly. */
export async function runCephTool(command: CephCommand, signal: AbortSignal): Promise<string> {
  const producer = startCephTool(command, signal);
  const { name } = producer;
  const input = producerInput(producer, { name, signal, atEnd: () => producer.finished() });
  try {
    return (await readAll(input.reader)).toString();
  } finally {
    await input.close();
  }
}

async function readAll(reader: ByteReader): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const part = (await reader.take(64 * 1024)).slice();
    if (part.length === 0) return Buffer.concat(parts);
    parts.push(part);
    if (reader.offset > MAX_OUTPUT_BYTES) {
      throw new VarveError(
        "failed",
        `Cannot run "${reader.name}": it printed more than ${MAX_OUTPUT_BYTES} bytes`,
      );
    }
  }
}
