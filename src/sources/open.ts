/** Opens the source that a command names: a file, a device, standard input or a producer to run. */
import fs from "node:fs";
import { isatty } from "node:tty";
import { promisify } from "node:util";
import { UsageError, VarveError } from "../errors.ts";
import { ByteReader } from "../os/byte_reader.ts";
import { Producer, type ProducerOptions } from "../os/child.ts";
import { type Input, producerInput } from "../os/input.ts";
import { preparePipe } from "../os/pipes.ts";
import { blockDeviceBytes, RawFileSource, RawPipeSource } from "./raw.ts";
import { RbdExportSource } from "./rbd_export_source.ts";
import { RbdImage } from "../rbd/image.ts";
import { RbdSource } from "./rbd_source.ts";
import type { RbdSpec } from "../rbd/spec.ts";
import { RbdStreamSource } from "./rbd_stream.ts";
import type { Source } from "./source.ts";
import type { SourceSpec } from "./source_spec.ts";
import { sayWritableMount, writesOf } from "./written.ts";

export interface OpenSourceOptions {
  /** `auto`: a block device's bytes, or else an rbd stream. `raw`: the bytes themselves, whatever they are. */
  format: "auto" | "raw";
  /** Ends every wait at once; the operation fails with its reason. */
  signal: AbortSignal;
  /** Gets a producer's stderr; the process's own where it is left out. */
  stderr?: ProducerOptions["stderr"];
  /** Told what is worth a line, and no reason to fail. */
  warn?: ((line: string) => void) | undefined;
}

const STDIN_FD = 0;

const fstat = promisify(fs.fstat);

/**
 * @throws {UsageError} where the source is a terminal, a folder, no command, or an image's moving head
 * @throws {VarveError} where it cannot be opened or run
 */
export async function openSource(spec: SourceSpec, options: OpenSourceOptions): Promise<Source> {
  if ("command" in spec) return openProducer(spec.command, options);
  if ("image" in spec) return await openImage(spec, options);
  return spec.path === "-" ? await openStdin(options) : await openPath(spec.path, options);
}

function openProducer(command: readonly string[], options: OpenSourceOptions): Source {
  const { signal, stderr = process.stderr, warn } = options;
  const producer = new Producer(command, { signal, stderr });
  const { name } = producer;
  const input = producerInput(producer, { name, signal, warn, atEnd: () => producer.finished() });
  return streamSource(input, options);
}

/** Differences between snapshots, or all bytes of one. */
async function openImage(
  { image: spec, isFull = false }: { image: RbdSpec; isFull?: boolean | undefined },
  { format, signal, warn = () => {} }: OpenSourceOptions,
): Promise<Source> {
  const image = await RbdImage.open(spec, signal);
  const { snapshot } = spec;
  if (format === "raw") return await RbdExportSource.open(image, { snapshot, signal });
  return new RbdSource(image, { snapshot, isFull, signal, warn });
}

async function openStdin(options: OpenSourceOptions): Promise<Source> {
  const name = "standard input";
  if (isatty(STDIN_FD)) {
    throw new UsageError(`Cannot read "${name}": it is a terminal; pipe a stream in`);
  }
  preparePipe(STDIN_FD);
  const { signal, warn = () => {} } = options;
  const piped = input(new ByteReader(STDIN_FD, { name, signal }));
  const stats = await fstat(STDIN_FD);
  if (!stats.isBlockDevice()) return streamSource(piped, options);
  sayWritableMount(stats, { path: name, warn });
  return new RawPipeSource(piped);
}

async function openPath(path: string, options: OpenSourceOptions): Promise<Source> {
  const { format, signal, warn } = options;
  const fd = await openForReading(path, signal);
  try {
    const stats = await fstat(fd);
    if (stats.isDirectory()) throw new UsageError(`Cannot read "${path}": it is a directory`);
    if (stats.isBlockDevice() || (format === "raw" && stats.isFile())) {
      return await openFile({ fd, stats }, { path, signal, warn });
    }
    if (stats.isFIFO()) preparePipe(fd);
    return streamSource(input(new ByteReader(fd, { name: path, signal })), options);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

async function openFile(
  { fd, stats }: { fd: number; stats: fs.Stats },
  { path, signal, warn = () => {} }: { path: string } & Pick<OpenSourceOptions, "signal" | "warn">,
): Promise<Source> {
  sayWritableMount(stats, { path, warn });
  const measure = async () =>
    stats.isFile() ? (await fstat(fd)).size : await blockDeviceBytes(stats.rdev, path);
  const sizeBytes = await measure();
  const reader = new ByteReader(fd, { name: path, signal, position: 0 });
  return new RawFileSource(input(reader), {
    file: { fd, measure, look: () => writesOf(fd, stats), path: stats.isFile() ? path : undefined },
    ...{ sizeBytes, warn },
  });
}

function streamSource(input: Input, { format, warn }: OpenSourceOptions): Source {
  return format === "raw" ? new RawPipeSource(input) : new RbdStreamSource(input, warn);
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
        return reject(new VarveError("failed", `Cannot open "${path}"`, { cause }));
      }
      if (signal.aborted) fs.closeSync(fd);
      resolve(fd);
    });
  });
}
