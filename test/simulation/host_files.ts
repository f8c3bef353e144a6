/**
 * Stands in for node:fs/promises where a host remembers something: files in memory, so that a seed always gives the same run,
 * two hosts can share one cache, and a host can be put back to what it was. Only what src/cache uses of it.
 */

const files = new Map<string, { bytes: Uint8Array; mtimeMs: number }>();

/** Every file of every host. */
export type HostFiles = ReadonlyMap<string, { bytes: Uint8Array; mtimeMs: number }>;

export function copyOfFiles(): HostFiles {
  return new Map(files);
}

/** What was changed or made since is gone. */
export function putBackFiles(copy: HostFiles): void {
  files.clear();
  for (const [path, file] of copy) files.set(path, file);
}

function missing(path: string): Error {
  return Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: "ENOENT" });
}

function found(path: string) {
  const file = files.get(path);
  if (file === undefined) throw missing(path);
  return file;
}

/** Files are never changed in place, so that copies stay as they are. */
function write(path: string, bytes: Uint8Array): void {
  files.set(path, { bytes, mtimeMs: 0 });
}

class Handle {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async read(into: Uint8Array, offset: number, length: number, position: number) {
    const part = found(this.#path).bytes.subarray(position, position + length);
    into.set(part, offset);
    return { bytesRead: part.length };
  }

  async write(from: Uint8Array, offset: number, length: number, position: number) {
    const { bytes } = found(this.#path);
    const written = new Uint8Array(Math.max(bytes.length, position + length));
    written.set(bytes);
    written.set(from.subarray(offset, offset + length), position);
    write(this.#path, written);
    return { bytesWritten: length };
  }

  async stat() {
    return { size: found(this.#path).bytes.length };
  }

  async close() {}

  async [Symbol.asyncDispose]() {}
}

export async function open(path: string, flags: string | number): Promise<Handle> {
  if (flags === "r") found(path);
  else if (!files.has(path)) write(path, new Uint8Array(0));
  return new Handle(path);
}

export async function mkdir(): Promise<void> {}

export async function rename(from: string, to: string): Promise<void> {
  files.set(to, found(from));
  files.delete(from);
}

export async function rm(path: string): Promise<void> {
  for (const other of [...files.keys()]) {
    if (other === path || other.startsWith(`${path}/`)) files.delete(other);
  }
}

export async function readdir(folder: string): Promise<string[]> {
  return [...files.keys()].filter((path) => path.startsWith(`${folder}/`))
    .map((path) => path.slice(folder.length + 1)).filter((name) => !name.includes("/"));
}

export async function readFile(path: string): Promise<Uint8Array> {
  return found(path).bytes.slice();
}

export async function writeFile(path: string, bytes: Uint8Array): Promise<void> {
  write(path, bytes.slice());
}

export async function stat(path: string) {
  const { bytes, mtimeMs } = found(path);
  return { size: bytes.length, mtimeMs };
}

export async function utimes(): Promise<void> {}
