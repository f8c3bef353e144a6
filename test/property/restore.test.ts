/**
 * Random histories of writes, resizes and backups; a file in any state, known or not; any point, by any way: the file then
 * is what a plain byte array says, and no chunk was fetched whose bytes were there.
 */
import { afterAll, beforeAll, describe, test } from "bun:test";
import fc from "fast-check";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Context } from "../../src/context.ts";
import type { Repository } from "../../src/project/repository.ts";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { backUp, CHUNK_BYTES, newRepository, noise, testContext } from "../kit/engine.ts";
import { memorySource, type TestDiff, type TestExtent } from "../kit/memory_source.ts";
import { contentOf, differing, expectContent, type FileRestore, restoreFile } from "../kit/restores.ts";
import { type Draw, histories, type Step, stepsOf } from "../kit/volume_history.ts";

const SMALL = { chunks: 8, steps: 4, near: [0, 1, 2, 3] };

let folder: string;
let turn = 0;
beforeAll(() => void (folder = fs.mkdtempSync(join(tmpdir(), "varve-restore-"))));
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** Bytes that are written behind varve's back. */
interface Poke {
  at: number;
  length: number;
  seed: number;
}

/** What stands on the target before the restore. */
type State =
  | { kind: "absent" }
  | { kind: "empty" }
  | { kind: "noise"; bytes: number }
  /** A point, restored or just copied, and bytes written over it since. */
  | { kind: "restored" | "copied"; back: number; pokes: Poke[] };

interface Restore {
  state: State;
  /** The point to restore, counted back. */
  back: number;
  /** Where the state is a point: tell what changed since. */
  withChanges: boolean;
  trustCache: boolean;
  dryFirst: boolean;
  verifyTarget: boolean;
}

/** At and around the borders of chunks, and anywhere. */
const place = fc.oneof(
  fc.tuple(fc.nat(8), fc.integer({ min: -2, max: 2 })).map(([chunk, by]) =>
    Math.max(0, chunk * CHUNK_BYTES + by)
  ),
  fc.nat(8 * CHUNK_BYTES),
);
const poke: fc.Arbitrary<Poke> = fc.record({
  at: place,
  length: fc.constantFrom(1, 2, 3, 4096, CHUNK_BYTES, CHUNK_BYTES + 1),
  seed: fc.nat(6),
});
const pokes = fc.oneof(fc.constant<Poke[]>([]), fc.array(poke, { maxLength: 3 }));
const state: fc.Arbitrary<State> = fc.oneof(
  fc.constant<State>({ kind: "absent" }),
  fc.constant<State>({ kind: "empty" }),
  fc.record({ kind: fc.constant("noise" as const), bytes: fc.nat(9 * CHUNK_BYTES) }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("restored" as const, "copied" as const),
      back: fc.nat(3),
      pokes,
    }),
  },
);
const restores: fc.Arbitrary<Restore[]> = fc.array(
  fc.record({
    state,
    back: fc.nat(3),
    withChanges: fc.boolean(),
    trustCache: fc.boolean(),
    dryFirst: fc.boolean(),
    verifyTarget: fc.boolean(),
  }),
  { minLength: 3, maxLength: 5 },
);

interface Point extends Step {
  backup: string;
}

async function backUpAll(repository: Repository, draws: readonly Draw[], context: Context): Promise<Point[]> {
  const points: Point[] = [];
  for (const step of stepsOf(draws, SMALL)) {
    const base = step.base === undefined ? undefined : points[step.base]!.backup;
    const [report] = await backUp(repository, [step.diff], { context, base });
    points.push({ ...step, backup: report!.backup });
  }
  return points;
}

const pointAt = (points: readonly Point[], back: number) => points[points.length - 1 - back % points.length]!;

/** Brings the file into its state; the point that it was, and what was written to it since. */
async function prepare(
  path: string,
  { state, points, restore }: {
    state: State;
    points: readonly Point[];
    restore: (options: FileRestore) => Promise<unknown>;
  },
): Promise<{ base: Point; extents: TestExtent[] } | undefined> {
  fs.rmSync(path, { force: true });
  if (state.kind === "absent") return undefined;
  if (state.kind === "empty") return void fs.writeFileSync(path, "");
  if (state.kind === "noise") return void fs.writeFileSync(path, noise(9, state.bytes));
  const base = pointAt(points, state.back);
  if (state.kind === "restored") await restore({ point: base.backup });
  else fs.writeFileSync(path, base.volume);
  const extents = state.pokes.flatMap(({ at, length, seed }) => {
    const data = noise(seed, Math.max(0, Math.min(length, base.volume.length - at)));
    return data.length === 0 ? [] : [{ offset: at, length: data.length, data }];
  });
  const fd = fs.openSync(path, "r+");
  for (const { offset, data } of extents) fs.writeSync(fd, data, 0, data.length, offset);
  fs.closeSync(fd);
  return { base, extents };
}

/** What an object can have beyond its content: header, leaves, and what sealing adds. */
const OBJECT_EXTRA_BYTES = 1024;
/** A chunk is one object, or a whole chunk's and a patch of less than a quarter. */
const MAX_OBJECTS_BYTES = CHUNK_BYTES * 5 / 4 + 2 * OBJECT_EXTRA_BYTES;

function checkCost({ chunks, downloaded_bytes, read_bytes, way }: RestoreReport, differ: number): void {
  const most = differ * MAX_OBJECTS_BYTES;
  const said = `${way}: ${chunks.written} chunks and ${downloaded_bytes} bytes fetched, ${differ} differ`;
  if (chunks.written > differ || downloaded_bytes > most) throw new Error(said);
  if (way === "new" && read_bytes > 0) throw new Error(`a new target was read: ${read_bytes} bytes`);
}

async function check(
  { repository, points, context }: { repository: Repository; points: readonly Point[]; context: Context },
  plan: Restore,
): Promise<void> {
  const path = join(folder, `disk-${turn++}`);
  const run = (options: FileRestore) => restoreFile(repository, path, { context, ...options });
  const known = await prepare(path, { state: plan.state, points, restore: run });
  const wanted = pointAt(points, plan.back);
  const { trustCache, verifyTarget } = plan;
  const tell = () => plan.withChanges ? knownOf(known, points) : undefined;
  const before = contentOf(path) ?? new Uint8Array();
  const options = () => ({ point: wanted.backup, trustCache, known: tell() });
  const planned = plan.dryFirst ? await run({ ...options(), dryRun: true }) : undefined;
  if (planned !== undefined && plan.state.kind !== "absent") expectContent(path, before);
  const report = await run({ ...options(), verifyTarget });
  expectContent(path, wanted.volume);
  checkCost(report, differing(before, wanted.volume));
  if (verifyTarget && report.verified_bytes !== wanted.volume.length) throw new Error("not all was verified");
  if (planned === undefined) return;
  const cost = ({ way, chunks, read_bytes }: RestoreReport) => JSON.stringify([way, chunks, read_bytes]);
  if (cost(planned) !== cost(report)) throw new Error(`a dry run said ${cost(planned)}, not ${cost(report)}`);
}

/** The stream since the point that the file was, where that has a snapshot whose name no later one has. */
function knownOf(
  known: { base: Point; extents: TestExtent[] } | undefined,
  points: readonly Point[],
): FileRestore["known"] {
  if (known === undefined) return undefined;
  const { base, extents } = known;
  if (base.diff.to === undefined || points.findLast(({ diff }) => diff.to === base.diff.to) !== base) {
    return undefined;
  }
  const diff: TestDiff = { from: base.diff.to, sizeBytes: base.volume.length, extents };
  return { point: base.backup, changes: memorySource([diff]) };
}

describe("restore() makes the file what the model has, and fetches no chunk that is there", () => {
  test("from random states, by every way", async () => {
    await fc.assert(
      fc.asyncProperty(histories(SMALL), restores, async (draws, plans) => {
        const context = testContext({ cacheRoot: join(folder, `cache-${turn++}`) });
        const repository = await newRepository();
        const points = await backUpAll(repository, draws, context);
        for (const plan of plans) await check({ repository, points, context }, plan);
      }),
      { numRuns: 40 },
    );
  }, 120_000);
});
