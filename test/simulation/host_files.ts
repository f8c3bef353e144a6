/**
 * Stands in for src/os/own_files.ts: files in memory, so that a seed always gives the same run, two hosts can share one
 * cache, and a host can be put back to what it was.
 */
import { type OwnPath, pathOf } from "../../src/os/own_path.ts";

const files = new Map<string, { bytes: Uint8Array }>();

/** Every file of every host. */
export type HostFiles = ReadonlyMap<string, { bytes: Uint8Array }>;

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
  files.set(path, { bytes });
}

class MemoryFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async sizeBytes() {
    return found(this.#path).bytes.length;
  }

  async read(into: Uint8Array, offset: number) {
    const part = found(this.#path).bytes.subarray(offset, offset + into.length);
    into.set(part);
    return part.length;
  }

  async write(from: Uint8Array, offset: number) {
    const { bytes } = found(this.#path);
    const written = new Uint8Array(Math.max(bytes.length, offset + from.length));
    written.set(bytes);
    written.set(from, offset);
    write(this.#path, written);
  }

  async close() {}
}

export async function openOwn(place: OwnPath) {
  return files.has(pathOf(place)) ? new MemoryFile(pathOf(place)) : undefined;
}

export async function openOrMakeOwn(place: OwnPath) {
  const path = pathOf(place);
  if (!files.has(path)) write(path, new Uint8Array(0));
  return new MemoryFile(path);
}

export async function readOwn(place: OwnPath) {
  return files.get(pathOf(place))?.bytes.slice();
}

export async function replaceOwn(place: OwnPath, fill: (file: MemoryFile) => Promise<void>) {
  const path = pathOf(place);
  const temporary = `${path}.${crypto.randomUUID()}`;
  write(temporary, new Uint8Array(0));
  await fill(new MemoryFile(temporary));
  files.set(path, found(temporary));
  files.delete(temporary);
}

export async function listOwn(place: OwnPath) {
  const above = `${pathOf(place)}/`;
  return [...files].filter(([path]) => path.startsWith(above) && !path.slice(above.length).includes("/"))
    .map(([path, { bytes }]) => ({ name: path.slice(above.length), sizeBytes: bytes.length, usedMs: 0 }));
}

export async function touchOwn() {}

export async function removeOwn(place: OwnPath) {
  files.delete(pathOf(place));
}

/** There are no folders. */
export async function removeOwnEmpty() {}

export async function removeOwnFolder(place: OwnPath) {
  for (const path of [...files.keys()]) if (path.startsWith(`${pathOf(place)}/`)) files.delete(path);
}
