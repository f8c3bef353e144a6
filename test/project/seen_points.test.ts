/** What a host has seen: which answers of a store are believed, and what of it is kept. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Context } from "../../src/context.ts";
import { openProject } from "../../src/project/open_project.ts";
import type { Project } from "../../src/project/project.ts";
import type { Repository } from "../../src/project/repository.ts";
import { findMissed, noteForgotten } from "../../src/project/seen_points.ts";
import { backupId } from "../../src/format/backup_id.ts";
import { HookedStore } from "../kit/hooked_store.ts";
import { backUp, newRepository, PROJECT, testContext, VOLUME } from "../kit/engine.ts";

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
  context = testContext({ stateRoot, log: { ...log, warn: (_, text) => void warnings.push(text) } });
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
const look = (...of: string[]) => findMissed(project, { volume: VOLUME, points: listed(...of) }, context);

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
    expect(warnings).toHaveLength(2);
    await store.put(key, bytes);
    expect(await look(...ids)).toEqual([]);
    await store.delete([key]);
    expect(await look(ids[0]!)).toHaveLength(1); // it was seen again
  });

  test("does not take for seen what cannot be read", async () => {
    const later = backupId(Date.UTC(2030, 0, 1), new Uint8Array(4));
    const points = [...listed(...ids), { volume: VOLUME, backup: later, isReadable: false }];
    expect(await findMissed(project, { volume: VOLUME, points }, context)).toEqual([]);
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

  test("does nothing where there is no folder for it", async () => {
    const nowhere = { ...context, stateRoot: undefined };
    expect(await findMissed(project, { volume: undefined, points: [] }, nowhere)).toEqual([]);
  });
});

test("noteForgotten() leaves no note of a volume of which everything was forgotten", async () => {
  await noteForgotten(project, ids.map((backup) => ({ volume: VOLUME, backup })), context);
  const folder = join(stateRoot, repository.id, PROJECT, "volumes", VOLUME);
  expect(existsSync(folder)).toBe(false);
  expect(await look()).toEqual([]);
});
