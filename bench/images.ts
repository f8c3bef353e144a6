/**
 * The bytes that everything is measured on, made once in a folder: a 2 GiB ext4 image with more than 1 GiB of this
 * machine's own system files, the same with 5 % of its chunks changed, and both as streams of `rbd export-diff`.
 */
import { existsSync } from "node:fs";
import { mkdir, open, rename } from "node:fs/promises";
import { measure, shell } from "./measure.ts";

const MIB = 1024 * 1024;
export const CHUNK_BYTES = 4 * MIB;
export const IMAGE_BYTES = 2048 * MIB;
/** Of the image's chunks; every one of them is written whole. */
const CHANGED_SHARE = 0.05;

export interface Images {
  base: string;
  changed: string;
  /** `rbd export-diff` of the base, and from it to the changed one. */
  full: string;
  increment: string;
  /** Chunks that differ between the two. */
  changedChunks: number;
}

export async function prepareImages(folder: string): Promise<Images> {
  await mkdir(folder, { recursive: true });
  const path = (name: string) => `${folder}/${name}`;
  const positions = changedPositions();
  await once(path("base.img"), makeBase);
  await once(path("changed.img"), (to) => makeChanged(path("base.img"), { to, positions }));
  await once(path("full.diff"), (to) => makeStream(path("base.img"), { to, toSnapshot: "one" }));
  await once(
    path("increment.diff"),
    (to) => makeStream(path("changed.img"), { to, fromSnapshot: "one", toSnapshot: "two", positions }),
  );
  const [base, changed, full, increment] = ["base.img", "changed.img", "full.diff", "increment.diff"].map(
    path,
  );
  return {
    base: base!,
    changed: changed!,
    full: full!,
    increment: increment!,
    changedChunks: positions.length,
  };
}

async function once(path: string, make: (to: string) => Promise<void>): Promise<void> {
  if (existsSync(path)) return;
  console.error(`bench: making ${path}`);
  await make(`${path}.part`);
  await rename(`${path}.part`, path);
}

/** Files of /usr up to 1.3 GiB, in the order of their names, as an ext4 file system. */
async function makeBase(to: string): Promise<void> {
  const tree = `${to}.tree`;
  const list =
    `find /usr/bin /usr/lib /usr/share/doc -xdev -type f -size -20M -printf '%s %p\\n' | LC_ALL=C sort -k2 |
    awk '{ sum += $1; if (sum <= 1.3 * 1024 ^ 3) print $2 }'`;
  await measure(shell(`rm -rf ${tree} && mkdir ${tree} && ${list} | xargs -d '\\n' cp --parents -t ${tree} &&
    rm -f ${to} && truncate -s ${IMAGE_BYTES} ${to} && mkfs.ext4 -q -d ${tree} ${to} && rm -rf ${tree}`));
}

function changedPositions(): number[] {
  const total = IMAGE_BYTES / CHUNK_BYTES;
  const count = Math.round(total * CHANGED_SHARE);
  return Array.from({ length: count }, (_, i) => Math.floor((i + 0.5) * total / count));
}

/** The changed chunks get the bytes of another chunk turned around, so they compress like the rest. */
async function makeChanged(from: string, options: { to: string; positions: number[] }): Promise<void> {
  await measure(["cp", "--sparse=always", from, options.to]);
  await using file = await open(options.to, "r+");
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (const position of options.positions) {
    await file.read(chunk, 0, CHUNK_BYTES, ((position * 7 + 3) % 300) * CHUNK_BYTES);
    chunk.reverse();
    chunk[0]! |= 1;
    await file.write(chunk, 0, CHUNK_BYTES, position * CHUNK_BYTES);
  }
}

interface StreamOptions {
  to: string;
  fromSnapshot?: string;
  toSnapshot: string;
  /** Chunks to write; without them all that are not zeros. */
  positions?: number[];
}

/** As rbd writes it: docs of Ceph, "RBD incremental backup" (dev/rbd-diff). */
async function makeStream(image: string, options: StreamOptions): Promise<void> {
  await using file = await open(image, "r");
  const out = Bun.file(options.to).writer();
  const text = (tag: string, value: string) => {
    const length = new Uint8Array(new Uint32Array([value.length]).buffer);
    out.write(Buffer.concat([Buffer.from(tag), length, Buffer.from(value)]));
  };
  const numbers = (tag: string, ...values: number[]) =>
    out.write(
      Buffer.concat([Buffer.from(tag), new Uint8Array(new BigUint64Array(values.map(BigInt)).buffer)]),
    );
  out.write("rbd diff v1\n");
  if (options.fromSnapshot !== undefined) text("f", options.fromSnapshot);
  text("t", options.toSnapshot);
  numbers("s", IMAGE_BYTES);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const zeros = Buffer.alloc(CHUNK_BYTES);
  for (
    const position of options.positions ?? Array.from({ length: IMAGE_BYTES / CHUNK_BYTES }, (_, i) => i)
  ) {
    await file.read(chunk, 0, CHUNK_BYTES, position * CHUNK_BYTES);
    if (options.positions === undefined && chunk.equals(zeros)) continue;
    numbers("w", position * CHUNK_BYTES, CHUNK_BYTES);
    out.write(chunk);
    await out.flush();
  }
  out.write("e");
  await out.end();
}
