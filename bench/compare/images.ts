/**
 * The bytes that everything is measured on, made once in a folder and kept: a 2 GiB ext4 image with more than 1 GiB of
 * this machine's own system files, and what the cases make of it; each volume as a file and as streams of
 * `rbd export-diff`.
 */
import { existsSync } from "node:fs";
import { mkdir, open, rename } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { random } from "../../test/kit/random.ts";
import { run } from "../report/measure.ts";
import { type Extent, writeStream } from "./rbd_stream.ts";

const MIB = 1024 * 1024;
const CHUNK_BYTES = 4 * MIB;
const BLOCK_BYTES = 4096;
/** Of the base's chunks; every one of them is written whole. */
const CHANGED_SHARE = 0.05;
const SMALL_WRITES = 1000;
const LARGE_FACTOR = 10;

/** A volume at two points of time. */
export interface Volume {
  name: string;
  base: string;
  changed: string;
  /** `rbd export-diff` of the base, and from it to the changed one. */
  full: string;
  increment: string;
  /** `rbd diff --format json` from the one to the other. */
  hints: string;
  /** What differs between the two. */
  changes: Extent[];
}

export interface Images {
  /** 2 GiB, 5 % of the chunks changed. */
  main: Volume;
  /** 20 GiB: the same, and holes. */
  large: Volume;
  /** 1 GiB: the first half of the main one, with 1,000 blocks written here and there. */
  small: Volume;
  /** From the base of `main` to the same. */
  empty: { stream: string; hints: string };
  /** The full stream of `main`, compressed: about what a full backup stores. */
  compressed: string;
  /** Of `main`, each in as many files as there are cores: what a program that knows one core is run on. */
  parts: { full: string[]; compressed: string[]; increment: string[]; base: string[] };
}

/** Makes what is not there yet; `share` makes everything smaller by that factor. */
export async function prepareImages(folder: string, share: number): Promise<Images> {
  await mkdir(folder, { recursive: true });
  const mainBytes = 2048 * MIB * share;
  const main = volumeIn(folder, "main", changedChunks(mainBytes));
  const large = volumeIn(folder, "large", main.changes);
  const small = volumeIn(folder, "small", smallWrites(mainBytes / 2));
  const empty = { stream: `${folder}/empty.diff`, hints: `${folder}/empty.json` };
  const compressed = `${main.full}.zst`;

  await once(main.base, (to) => makeBase(to, { sizeBytes: mainBytes, share }));
  await once(main.changed, (to) => makeChanged(main, { to, fill: otherChunk(main.base, share) }));
  await makeStreams(main, { sizeBytes: mainBytes, dataBytes: mainBytes });
  const none = { sizeBytes: mainBytes, fromSnapshot: "one", toSnapshot: "two", extents: [] };
  await once(empty.stream, (to) => writeStream(main.base, { ...none, to }));
  await once(empty.hints, (to) => writeHints([], to));
  await once(compressed, (to) => run(`zstd -3 -T0 -q -c '${main.full}' >'${to}'`));

  const largeBytes = mainBytes * LARGE_FACTOR;
  for (const point of ["base", "changed"] as const) {
    await once(
      large[point],
      (to) => run(`cp --sparse=always '${main[point]}' '${to}'; truncate -s ${largeBytes} '${to}'`),
    );
  }
  await makeStreams(large, { sizeBytes: largeBytes, dataBytes: mainBytes });

  await once(small.base, (to) => run(`head -c ${mainBytes / 2} '${main.base}' >'${to}'`));
  await once(small.changed, (to) => makeChanged(small, { to, fill: randomBlock(2) }));
  await makeStreams(small, { sizeBytes: mainBytes / 2, dataBytes: mainBytes / 2 });

  const [full, increment, base] = [await cut(main.full), await cut(main.increment), await cut(main.base)];
  const compressedParts = full.map((part) => `${part}.zst`);
  for (const part of full) await once(`${part}.zst`, (to) => run(`zstd -3 -q -c '${part}' >'${to}'`));
  return {
    main,
    large,
    small,
    empty,
    compressed,
    parts: { full, compressed: compressedParts, increment, base },
  };
}

function volumeIn(folder: string, name: string, changes: Extent[]): Volume {
  const path = (what: string) => `${folder}/${name === "main" ? "" : `${name}-`}${what}`;
  const [base, changed] = [path("base.img"), path("changed.img")];
  const streams = {
    full: path("full.diff"),
    increment: path("increment.diff"),
    hints: path("increment.json"),
  };
  return { name, base, changed, ...streams, changes };
}

async function once(path: string, make: (to: string) => Promise<unknown>): Promise<void> {
  if (existsSync(path)) return;
  console.error(`bench: making ${path}`);
  await make(`${path}.part`);
  await rename(`${path}.part`, path);
}

/** Files of /usr up to 1.3 GiB, in the order of their names, as an ext4 file system. */
async function makeBase(
  to: string,
  { sizeBytes, share }: { sizeBytes: number; share: number },
): Promise<void> {
  const tree = `${to}.tree`;
  const list =
    `find /usr/bin /usr/lib /usr/share/doc -xdev -type f -size -20M -printf '%s %p\\n' | LC_ALL=C sort -k2 |
    awk '{ sum += $1; if (sum <= ${share} * 1.3 * 1024 ^ 3) print $2 }'`;
  await run(`rm -rf '${tree}' && mkdir '${tree}' && ${list} | xargs -d '\\n' cp --parents -t '${tree}' &&
    rm -f '${to}' && truncate -s ${sizeBytes} '${to}' &&
    PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -d '${tree}' '${to}' && rm -rf '${tree}'`);
}

function changedChunks(sizeBytes: number): Extent[] {
  const total = sizeBytes / CHUNK_BYTES;
  const count = Math.round(total * CHANGED_SHARE);
  const position = (i: number) => Math.floor((i + 0.5) * total / count);
  return Array.from(
    { length: count },
    (_, i) => ({ offset: position(i) * CHUNK_BYTES, length: CHUNK_BYTES }),
  );
}

/** Different blocks, in ascending order. */
function smallWrites(sizeBytes: number): Extent[] {
  const next = random(1);
  const blocks = new Set<number>();
  while (blocks.size < SMALL_WRITES) blocks.add(next(sizeBytes / BLOCK_BYTES));
  return [...blocks].sort((a, b) => a - b).map((block) => ({
    offset: block * BLOCK_BYTES,
    length: BLOCK_BYTES,
  }));
}

type Fill = (data: Uint8Array, offset: number) => Promise<void>;

async function makeChanged(
  { base, changes }: Volume,
  { to, fill }: { to: string; fill: Fill },
): Promise<void> {
  await run(`cp --sparse=always '${base}' '${to}'`);
  await using file = await open(to, "r+");
  for (const { offset, length } of changes) {
    const data = new Uint8Array(length);
    await fill(data, offset);
    await file.write(data, 0, length, offset);
  }
}

/** A changed chunk gets the bytes of another one turned around, so it compresses like the rest. */
function otherChunk(image: string, share: number): Fill {
  return async (data, offset) => {
    const from = (offset / CHUNK_BYTES * 7 + 3) % Math.floor(300 * share) * CHUNK_BYTES;
    data.set(new Uint8Array(await Bun.file(image).slice(from, from + data.length).arrayBuffer()));
    data.reverse();
    data[0]! |= 1;
  };
}

function randomBlock(seed: number): Fill {
  const next = random(seed);
  return async (data) => {
    for (let i = 0; i < data.length; i++) data[i] = next(256);
  };
}

/** `dataBytes`: behind them there are only holes. */
async function makeStreams(volume: Volume, sizes: { sizeBytes: number; dataBytes: number }): Promise<void> {
  const { sizeBytes, dataBytes } = sizes;
  const all = Array.from(
    { length: dataBytes / CHUNK_BYTES },
    (_, i) => ({ offset: i * CHUNK_BYTES, length: CHUNK_BYTES }),
  );
  await once(
    volume.full,
    (to) => writeStream(volume.base, { to, sizeBytes, toSnapshot: "one", extents: all }),
  );
  await once(
    volume.increment,
    (to) =>
      writeStream(volume.changed, {
        ...{ to, sizeBytes, fromSnapshot: "one", toSnapshot: "two" },
        extents: volume.changes,
      }),
  );
  await once(volume.hints, (to) => writeHints(volume.changes, to));
}

async function writeHints(changes: Extent[], to: string): Promise<void> {
  await Bun.write(to, JSON.stringify(changes.map((extent) => ({ ...extent, exists: "true" }))));
}

/** Writes the changed bytes over those of `target`, a file with the bytes of the base or of the changed one. */
export async function applyChanges({ changed, changes }: Volume, target: string): Promise<void> {
  await using from = await open(changed, "r");
  await using to = await open(target, "r+");
  for (const { offset, length } of changes) {
    const data = new Uint8Array(length);
    await from.read(data, 0, length, offset);
    await to.write(data, 0, length, offset);
  }
}

/** Cuts a file into one part for each core. Holes stay holes. */
async function cut(path: string): Promise<string[]> {
  const count = availableParallelism();
  const blocks = Math.ceil(Bun.file(path).size / count / MIB);
  const parts = Array.from({ length: count }, (_, i) => `${path}.${i}of${count}`);
  for (const [i, part] of parts.entries()) {
    await once(
      part,
      (to) =>
        run(`dd if='${path}' of='${to}' bs=1M skip=${i * blocks} count=${blocks} conv=sparse status=none`),
    );
  }
  return parts;
}
