/** Random histories through the real engine: every point, at every time, is what a plain byte array says. */
import { afterAll, beforeAll, describe, test } from "bun:test";
import fc from "fast-check";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { Context } from "../../src/context.ts";
import type { Repository } from "../../src/project/repository.ts";
import { openSource } from "../../src/sources/open.ts";
import {
  backUp,
  CHUNK_BYTES,
  newRepository,
  noise,
  type RestoreTo,
  restoreTo,
  testContext,
} from "../kit/engine.ts";
import type { TestDiff } from "../kit/memory_source.ts";
import { encodeDiff, type TestRecord } from "../kit/rbd_stream.ts";
import { histories, type Step, stepsOf } from "../kit/volume_history.ts";

let folder: string;
beforeAll(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), "varve-history-"));
});
afterAll(() => fs.rm(folder, { recursive: true }));

/** The difference as `rbd export-diff` would write it. */
async function streamOf({ from, to, sizeBytes, extents }: TestDiff) {
  const stream = encodeDiff([
    ...(from === undefined ? [] : [{ tag: "f", name: from } as const]),
    ...(to === undefined ? [] : [{ tag: "t", name: to } as const]),
    { tag: "s", sizeBytes },
    ...extents.map(({ offset, length, data }): TestRecord =>
      data === undefined ? { tag: "z", offset, length } : { tag: "w", offset, data }
    ),
    { tag: "e" },
  ]);
  const file = path.join(folder, "stream");
  await fs.writeFile(file, stream);
  return await openSource({ path: file }, { format: "auto", signal: new AbortController().signal });
}

/** `ids`: of the steps before. */
async function store(
  repository: Repository,
  { step: { diff, asStream, base }, ids }: { step: Step; ids: readonly string[] },
  context: Context,
): Promise<string> {
  const options = { context, base: base === undefined ? undefined : ids[base] };
  const [report] = await backUp(repository, asStream ? await streamOf(diff) : [diff], options);
  return report!.backup;
}

/** Something to restore onto: nothing, a stream, the volume itself, or what is half right and of another size. */
function targetOf(volume: Uint8Array, turn: number): Pick<RestoreTo, "content" | "sequential"> {
  if (turn % 4 === 0) return {};
  if (turn % 4 === 1) return { sequential: true };
  if (turn % 4 === 2) return { content: volume };
  const stale = noise(turn, Math.max(0, volume.length + (turn % 5 - 2) * 1000));
  stale.set(volume.subarray(0, Math.min(stale.length, volume.length >> 1)));
  return { content: stale };
}

function mustEqual(restored: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(restored, expected) === 0) return;
  const at = expected.findIndex((byte, i) => restored[i] !== byte);
  const place = `byte ${at}, which is ${at % CHUNK_BYTES} of chunk ${Math.floor(at / CHUNK_BYTES)}`;
  throw new Error(
    `${restored.length} bytes were restored of ${expected.length}; the first that differs: ${place}`,
  );
}

async function check(
  repository: Repository,
  point: { id: string; volume: Uint8Array; turn: number },
  context: Context,
): Promise<void> {
  const { id, volume, turn } = point;
  const onto = targetOf(volume, turn);
  const { target, report } = await restoreTo(repository, { point: id, context, ...onto });
  // What a target has behind the volume's end is not the volume's.
  const behind = onto.content?.subarray(volume.length) ?? [];
  mustEqual(target.bytes, new Uint8Array(Buffer.concat([volume, new Uint8Array(behind)])));
  if (!target.synced || !target.closed) throw new Error("the target was left without a sync or a close");
  if (report.damaged.length > 0) throw new Error("damage was reported");
}

/** Takes every step, and restores every point so far behind each. */
async function replay(steps: readonly Step[], context: Context): Promise<void> {
  const repository = await newRepository();
  const ids: string[] = [];
  for (const [i, step] of steps.entries()) {
    ids.push(await store(repository, { step, ids }, context));
    for (const [j, id] of ids.entries()) {
      const turn = i + j + steps.length;
      await check(repository, { id, volume: steps[j]!.volume, turn }, context);
    }
  }
}

describe("backup() and restore() keep every point of a random history as the model has it", () => {
  const small = { chunks: 10, steps: 5, near: [0, 1, 2, 3] };
  const large = { chunks: 2100, steps: 3, near: [0, 1022, 1023, 1024, 2047, 2048] };

  test("of a volume of a few chunks", async () => {
    await fc.assert(
      fc.asyncProperty(histories(small), (draws) => replay(stepsOf(draws, small), testContext())),
      { numRuns: 30 },
    );
  }, 120_000);

  test("of a volume of a few chunks, on a host that remembers", async () => {
    await fc.assert(
      fc.asyncProperty(histories(small), (draws) => {
        return replay(stepsOf(draws, small), testContext({ cacheRoot: path.join(folder, "cache") }));
      }),
      { numRuns: 15 },
    );
  }, 120_000);

  test("of a volume of several pages", async () => {
    await fc.assert(
      fc.asyncProperty(histories(large), (draws) => replay(stepsOf(draws, large), testContext())),
      // One run may take seconds: what fails is not made smaller.
      { numRuns: 5, endOnFailure: true },
    );
  }, 120_000);
});
