/** What a host has seen: which answers of a store are believed, and what of it is kept. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Context } from "../../src/context.ts";
import { gc } from "../../src/engine/gc/gc.ts";
import { verify } from "../../src/engine/verify/verify.ts";
import { listBackups } from "../../src/project/catalog.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { openProject } from "../../src/project/open_project.ts";
import type { Project } from "../../src/project/project.ts";
import type { Repository } from "../../src/project/repository.ts";
import { findMissed, noteForgotten, noteOwn, type PresentPoint } from "../../src/project/seen_points.ts";
import { backupId } from "../../src/format/backup_id.ts";
import { HookedStore } from "../kit/hooked_store.ts";
import { AT_ONCE, backUp, newRepository, PROJECT, testContext, VOLUME } from "../kit/engine.ts";

let stateRoot: string;
let store: HookedStore;
let repository: Repository;
let project: Project;
let context: Context;
let hidden: string | undefined;
let warnings: string[];
/** In the order in which they were made. */
let ids: string[];

beforeEach(async () => {
  stateRoot = mkdtempSync(join(tmpdir(), "varve-seen-"));
  warnings = [];
  const { log } = testContext();
  context = testContext({ stateRoot, log: { ...log, error: (_, text) => void warnings.push(text) } });
  repository = await newRepository();
  hidden = undefined;
  store = new HookedStore(repository.store, { hide: (key) => hidden !== undefined && key.endsWith(hidden) });
  repository = { ...repository, store };
  ids = [];
  for (const to of ["a", "b"]) {
    const [report] = await backUp(repository, [{ to, sizeBytes: 0, extents: [] }], { context });
    ids.push(report!.backup);
  }
  project = await openProject(repository, { name: PROJECT, secrets: [] }, context);
});
afterEach(() => rmSync(stateRoot, { recursive: true, force: true }));

const listed = (...of: string[]) => of.map((backup) => ({ volume: VOLUME, backup, isReadable: true }));
const compare = async (points: readonly PresentPoint[]) =>
  await findMissed(project, { volume: VOLUME, points }, context);
const look = async (...of: string[]) => (await compare(listed(...of))).points;

describe("findMissed()", () => {
  test("misses nothing that is there, and nothing that only listings leave out", async () => {
    expect(await look(...ids)).toEqual([]);
    hidden = ids[1]!;
    expect(await look(ids[0]!)).toEqual([]);
    expect(await look()).toEqual([]);
    hidden = undefined;
    expect(await look(...ids)).toEqual([]);
    expect(warnings).toEqual([]);
  });

  test("misses what neither is listed nor there, again and again, until it is back", async () => {
    const key = project.objectKey(`volumes/${VOLUME}/${ids[1]}`);
    const bytes = await store.get(key);
    await store.delete([key]);
    for (let time = 0; time < 2; time++) {
      expect(await look(ids[0]!)).toEqual([{ volume: VOLUME, backup: ids[1]! }]);
    }
    expect(warnings).toHaveLength(1); // the run has said it
    await store.put(key, bytes);
    expect(await look(...ids)).toEqual([]);
    await store.delete([key]);
    expect(await look(ids[0]!)).toHaveLength(1); // it was seen again
  });

  test("does not take for seen what cannot be read", async () => {
    const later = backupId(Date.UTC(2030, 0, 1), new Uint8Array(4));
    const points = [...listed(...ids), { volume: VOLUME, backup: later, isReadable: false }];
    expect(await compare(points)).toEqual({ points: [], notes: [] });
    expect(await look(...ids)).toEqual([]);
  });

  test("keeps a bounded number of points that are missed", async () => {
    for (let at = 0; at < 150; at++) {
      await look(backupId(Date.UTC(2030, 0, 1) + at, new Uint8Array(4)));
    }
    expect((await look()).length).toBeLessThanOrEqual(101);
    expect((await look()).length).toBe(100);
  });

  test("notes no volume that cannot be called so, for it may be in the way of another", async () => {
    const [, newest] = ids as [string, string];
    const points = [`${VOLUME}/.newest`, ".newest", "a//b", "fine"].map((volume) => ({
      volume,
      backup: newest,
      isReadable: true,
    }));
    await findMissed(project, { volume: undefined, points: [...points, ...listed(...ids)] }, context);
    const names = readdirSync(stateRoot, { recursive: true, encoding: "utf8" });
    const notes = names.filter((name) => name.endsWith(".newest")).map((name) => name.split("/volumes/")[1]);
    expect(notes.toSorted()).toEqual(["fine/.newest", `${VOLUME}/.newest`]);
  });

  test("takes the point that was made last for the newest, whatever a wrong clock has dated", async () => {
    const future = backupId(Date.UTC(2030, 0, 1), new Uint8Array(4));
    const points = (passing: readonly string[]) => [
      ...listed(ids[0]!),
      ...passing.map((backup) => ({ volume: VOLUME, backup, isReadable: true, passedOver: [future] })),
      ...listed(future),
    ];
    expect(await compare(points([ids[1]!]))).toEqual({ points: [], notes: [] });
    await store.delete([project.objectKey(`volumes/${VOLUME}/${ids[1]}`)]);
    expect((await compare(points([]))).points).toEqual([{ volume: VOLUME, backup: ids[1]! }]);
  });

  test("knows that order from the manifests of a store whose clock was wrong once", async () => {
    let nowMs = Date.UTC(2026, 0, 1);
    const clocked = await newRepository(new MemoryStore({ now: () => nowMs += 1000 }));
    const made: string[] = [];
    for (const ms of [0, Date.UTC(2030, 0, 1), Date.UTC(2026, 0, 2), Date.UTC(2026, 0, 3)]) {
      if (ms !== 0) nowMs = ms;
      const [report] = await backUp(clocked, [{ to: String(ms), sizeBytes: 0, extents: [] }], { context });
      made.push(report!.backup);
    }
    const again = [
      () => listBackups(clocked, { project: PROJECT, secrets: [] }, context),
      () => verify(clocked, { project: PROJECT, secrets: [], sample: { kind: "none" } }, context),
      () => gc(clocked, { project: PROJECT, secrets: [], dryRun: true, ...AT_ONCE, force: false }, context),
    ];
    for (const command of again) await command();
    expect(warnings).toEqual([]);
    await clocked.store.delete([`projects/${PROJECT}/volumes/${VOLUME}/${made.at(-1)}`]);
    await listBackups(clocked, { project: PROJECT, secrets: [] }, context);
    expect(warnings).toEqual([expect.stringContaining(made.at(-1)!)]);
  });

  test("doubts a note that is of another key, or cannot be read, and never writes over it", async () => {
    const path = join(stateRoot, repository.id, PROJECT, "volumes", VOLUME, ".newest");
    const whole = readFileSync(path, "utf8");
    const anotherKey = whole.replace(/"key":"[0-9a-f]{16}"/, `"key":"${"0".repeat(16)}"`);
    const cases = [
      [anotherKey, `was written with the key ${"0".repeat(16)}, which the project does not have any more`],
      ["garbage", `cannot be read: "${path}" was changed`],
      ["", "cannot be read"],
      ["null\n\n", "cannot be read"],
      [whole.replace(ids[1]!, ids[0]!), "cannot be read"],
    ] as const;
    for (const [text, state] of cases) {
      writeFileSync(path, text);
      project = await openProject(repository, { name: PROJECT, secrets: [] }, context);
      warnings = [];
      for (let time = 0; time < 2; time++) {
        const { points, notes } = await compare(listed(...ids));
        expect(points).toEqual([]);
        expect(notes).toEqual([
          expect.objectContaining({ volume: VOLUME, state: expect.stringContaining(state) }),
        ]);
      }
      expect(warnings).toEqual([expect.stringContaining(`remove`)]);
      await noteForgotten(project, [{ volume: VOLUME, backup: ids[1]! }], context);
      await noteOwn(project, { volume: VOLUME, backup: ids[1]! }, context);
      expect(readFileSync(path, "utf8")).toBe(text);
    }
    rmSync(path);
    expect(await compare(listed(...ids))).toEqual({ points: [], notes: [] });
  });

  test("does nothing where there is no folder for it", async () => {
    const nowhere = { ...context, stateRoot: undefined };
    const nothing = { points: [], notes: [] };
    expect(await findMissed(project, { volume: undefined, points: [] }, nowhere)).toEqual(nothing);
  });
});

test("noteForgotten() leaves no note of a volume of which everything was forgotten", async () => {
  await noteForgotten(project, ids.map((backup) => ({ volume: VOLUME, backup })), context);
  const folder = join(stateRoot, repository.id, PROJECT, "volumes", VOLUME);
  expect(existsSync(folder)).toBe(false);
  expect(await look()).toEqual([]);
});
