/** Opens the source that a command names: a file, a device, standard input or a producer to run. */
import fs from "node:fs";
import { isatty } from "node:tty";
import { promisify } from "node:util";
import { describeError, UsageError, VarveError } from "../errors.ts";
import { ByteReader } from "./byte_reader.ts";
import { Producer, type ProducerOptions } from "./exec.ts";
import type { Input } from "./input.ts";
import { preparePipe } from "./libc.ts";
import { blockDeviceBytes, RawFileSource, RawPipeSource } from "./raw.ts";
import { RbdStreamSource } from "./rbd_stream.ts";
import type { Source } from "./source.ts";

/** `path`: "-" is standard input. `command`: a program, found by PATH, and its arguments; its output is the stream. */
export type SourceSpec = { path: string } | { command: readonly string[] };

export interface OpenSourceOptions {
  /** `auto`: a block device's bytes, or else an rbd stream. `raw`: the bytes themselves, whatever they are. */
  format: "auto" | "raw";
  /** Ends every wait at once; the operation fails with its reason. */
  signal: AbortSignal;
  /** Gets a producer's stderr; the process's own where it is left out. */
  stderr?: ProducerOptions["stderr"];
}

const STDIN_FD = 0;

const fstat = promisify(fs.fstat);

/**
 * @throws {UsageError} where the source is a terminal, a folder or no command
 * @throws {VarveError} where it cannot be opened or run
 */
export async function openSource(spec: SourceSpec, options: OpenSourceOptions): Promise<Source> {
  if ("command" in spec) return openProducer(spec.command, options);
  return spec.path === "-" ? await openStdin(options) : await openPath(spec.path, options);
}

function openProducer(command: readonly string[], options: OpenSourceOptions): Source {
  const { format, signal, stderr = process.stderr } = options;
  const producer = new Producer(command, { signal, stderr });
  preparePipe(producer.fd);
  const { name } = producer;
  const reader = new ByteReader(producer.fd, { name, signal, atEnd: () => producer.finished() });
  return streamSource(format, {
    reader,
    close: () => {
      reader.close();
      return producer.stop();
    },
  });
}

async function openStdin({ format, signal }: OpenSourceOptions): Promise<Source> {
  const name = "standard input";
  if (isatty(STDIN_FD)) {
    throw new UsageError(`Cannot read "${name}": it is a terminal, a stream must be piped in`);
  }
  preparePipe(STDIN_FD);
  const reader = new ByteReader(STDIN_FD, { name, signal });
  return streamSource((await fstat(STDIN_FD)).isBlockDevice() ? "raw" : format, input(reader));
}

async function openPath(path: string, { format, signal }: OpenSourceOptions): Promise<Source> {
  const fd = await openForReading(path, signal);
  try {
    const stats = await fstat(fd);
    if (stats.isDirectory()) throw new UsageError(`Cannot read "${path}": it is a folder`);
    if (stats.isBlockDevice() || (format === "raw" && stats.isFile())) {
      return await openFile({ fd, stats }, { path, signal });
    }
    if (stats.isFIFO()) preparePipe(fd);
    return streamSource(format, input(new ByteReader(fd, { name: path, signal })));
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

async function openFile(
  { fd, stats }: { fd: number; stats: fs.Stats },
  { path, signal }: { path: string; signal: AbortSignal },
): Promise<Source> {
  const measure = async () =>
    stats.isFile() ? (await fstat(fd)).size : await blockDeviceBytes(stats.rdev, path);
  const sizeBytes = await measure();
  const reader = new ByteReader(fd, { name: path, signal, position: 0 });
  return new RawFileSource(input(reader), {
    file: { fd, measure, path: stats.isFile() ? path : undefined },
    sizeBytes,
  });
}

function streamSource(format: OpenSourceOptions["format"], input: Input): Source {
  return format === "raw" ? new RawPipeSource(input) : new RbdStreamSource(input);
}

function input(reader: ByteReader): Input {
  return { reader, close: () => Promise.resolve(reader.close()) };
}

/** Opening a named pipe waits for its writer, which cannot be given up: when aborted, only the waiting for it ends. */
function openForReading(path: string, signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort);
    fs.open(path, "r", (cause, fd) => {
      signal.removeEventListener("abort", onAbort);
      if (cause) {
        return reject(new VarveError("failed", `Cannot open "${path}": ${describeError(cause)}`, { cause }));
      }
      if (signal.aborted) fs.closeSync(fd);
      resolve(fd);
    });
  });
}
