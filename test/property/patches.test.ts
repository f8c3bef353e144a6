/**
 * Random histories of small writes, on several volumes that share chunks and several hosts that remember, forget or
 * remember wrongly; points are forgotten and garbage is collected in between. Every point that is left is what a plain byte
 * array says, nothing in the store is damaged, and nothing is left that no point needs.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Context } from "../../src/context.ts";
import { gc } from "../../src/engine/gc/gc.ts";
import type { Repository } from "../../src/project/repository.ts";
import { forgetPoint } from "../../src/engine/retention/forget.ts";
import { verify } from "../../src/engine/verify/verify.ts";
import {
  AT_ONCE,
  backUp,
  CHUNKS,
  keysOf,
  newRepository,
  PROJECT,
  restoreTo,
  testContext,
} from "../kit/engine.ts";
import { data, type TestDiff } from "../kit/memory_source.ts";
import { type Action, action, extentsOf, FIRST, HOSTS, VOLUMES } from "../kit/patch_history.ts";
import { pageKeyOf } from "../kit/patches.ts";
import { applied } from "../kit/volume_history.ts";

let folder: string;
let turn = 0;
beforeAll(() => void (folder = fs.mkdtempSync(join(tmpdir(), "varve-patches-"))));
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** Over the whole run: a test without patches would prove nothing. */
const seen = { patched: 0, new: 0, reused: 0, forgotten: 0, swept: 0 };

interface Point {
  volume: string;
  backup: string;
  snapshot: string;
  content: Uint8Array;
}

class World {
  readonly #hosts: Context[];
  readonly #repository: Repository;
  #points: Point[] = [];
  #snapshots = 0;

  constructor(repository: Repository) {
    this.#repository = repository;
    // The last one remembers nothing.
    this.#hosts = Array.from({ length: HOSTS }, (_, i) => {
      return testContext(i === HOSTS - 1 ? {} : { cacheRoot: join(folder, `${turn++}`) });
    });
  }

  async begin(): Promise<void> {
    for (const volume of VOLUMES) {
      await this.#store(volume, { sizeBytes: FIRST.length, extents: [data(0, FIRST)] }, this.#hosts[0]!);
    }
  }

  async take(action: Action): Promise<void> {
    switch (action.kind) {
      case "backup":
        return await this.#backUp(action);
      case "damage caches":
        return this.#damage(action);
      case "swap caches":
        return this.#swap(action.host);
      case "forget":
        return await this.#forget(action.back);
      case "gc":
        return await this.#collect();
    }
  }

  async #backUp({ volume: number, host, stream, edits, size }: Extract<Action, { kind: "backup" }>) {
    const volume = VOLUMES[number]!;
    const last = this.#points.findLast((point) => point.volume === volume);
    const base = stream === "incremental" ? last : undefined;
    const sizeBytes = size ?? last?.content.length ?? FIRST.length;
    const shape = new Uint8Array(sizeBytes);
    shape.set((last?.content ?? FIRST).subarray(0, sizeBytes));
    const extents = edits.flatMap((edit) => extentsOf(edit, shape));
    if (stream === "incremental" || stream === "full") {
      // A full stream has the volume first, as it was.
      const before = base === undefined && size === undefined ? [data(0, shape)] : [];
      const diff = { from: base?.snapshot, sizeBytes, extents: [...before, ...extents] };
      return await this.#store(volume, diff, this.#hosts[host]!);
    }
    const content = applied(shape, { from: "shape", sizeBytes, extents });
    await this.#store(
      volume,
      { sizeBytes, sizeComesLate: true, extents: [data(0, content)] },
      this.#hosts[host]!,
    );
  }

  async #store(volume: string, diff: TestDiff, context: Context): Promise<void> {
    const snapshot = `s${this.#snapshots++}`;
    const base = this.#points.find((point) => point.volume === volume && point.snapshot === diff.from);
    const content = applied(base?.content ?? new Uint8Array(), diff);
    const [report] = await backUp(this.#repository, [{ ...diff, to: snapshot }], { volume, context });
    for (const outcome of ["patched", "new", "reused"] as const) seen[outcome] += report!.chunks[outcome];
    this.#points.push({ volume, backup: report!.backup, snapshot, content });
  }

  #files(host: number): string[] {
    const { cacheRoot } = this.#hosts[host]!;
    if (cacheRoot === undefined || !fs.existsSync(cacheRoot)) return [];
    const entries = fs.readdirSync(cacheRoot, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  }

  #damage({ host, seed }: Extract<Action, { kind: "damage caches" }>): void {
    for (const [i, file] of this.#files(host).entries()) {
      const bytes = fs.readFileSync(file);
      if ((seed + i) % 4 === 0) fs.rmSync(file);
      else if ((seed + i) % 4 === 1) fs.truncateSync(file, bytes.length >> 1);
      else if (bytes.length > 0) {
        const at = seed % bytes.length;
        fs.writeFileSync(file, bytes.fill(seed, at, Math.min(bytes.length, at + 50)));
      }
    }
  }

  /** Leaves of one volume stand where those of the other are looked for. */
  #swap(host: number): void {
    const [a, b] = VOLUMES.map((volume) => {
      return this.#files(host).find((file) => file.endsWith(join(PROJECT, "volumes", volume, ".leaves")));
    });
    if (a === undefined || b === undefined) return;
    fs.renameSync(a, `${a}.away`);
    fs.renameSync(b, a);
    fs.renameSync(`${a}.away`, b);
  }

  async #forget(back: number): Promise<void> {
    const point = this.#points.at(-1 - back);
    if (point === undefined) return;
    const { volume, backup } = point;
    await forgetPoint(this.#repository, {
      project: PROJECT,
      volume,
      point: backup,
      secrets: [],
      dryRun: false,
    }, testContext());
    this.#points = this.#points.filter((other) => other !== point);
    seen.forgotten++;
  }

  async #collect(): Promise<void> {
    const before = (await keysOf(this.#repository.store, CHUNKS)).length;
    await gc(
      this.#repository,
      { project: PROJECT, secrets: [], dryRun: false, ...AT_ONCE },
      testContext(),
    );
    seen.swept += before - (await keysOf(this.#repository.store, CHUNKS)).length;
  }

  async check(): Promise<void> {
    for (const [i, { volume, backup, content }] of this.#points.entries()) {
      const older = this.#points[(i + 1) % this.#points.length]!.content;
      for (const onto of [{}, { sequential: true }, { content: older.slice() }]) {
        const context = this.#hosts[i % HOSTS]!;
        const { target } = await restoreTo(this.#repository, { volume, point: backup, context, ...onto });
        if (Buffer.compare(target.bytes.subarray(0, content.length), content) !== 0) {
          throw new Error(`${volume}@${backup} is not what it was`);
        }
      }
    }
    const report = await verify(this.#repository, {
      project: PROJECT,
      secrets: [],
      sample: { kind: "all" },
    }, testContext());
    expect(report.findings).toEqual([]);
    await this.#collect();
    const chunks = (await keysOf(this.#repository.store, CHUNKS)).length;
    expect(chunks - report.chunks).toBe(await this.#pages());
  }

  /** How many different pages the points have: volumes of these sizes have one each. */
  async #pages(): Promise<number> {
    const keys = await Promise.all(
      this.#points.map(({ volume, backup }) => pageKeyOf(this.#repository, backup, volume)),
    );
    return new Set(keys.filter((key) => key !== undefined)).size;
  }
}

describe("backup() of small writes, forget() and gc()", () => {
  test("keep every point that is left as the model has it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 4, maxLength: 12, size: "max" }), async (actions) => {
        const world = new World(await newRepository());
        await world.begin();
        for (const action of actions) await world.take(action);
        await world.check();
      }),
      { numRuns: 15, endOnFailure: true },
    );
    expect(seen.patched).toBeGreaterThan(20);
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(0);
  }, 120_000);
});
