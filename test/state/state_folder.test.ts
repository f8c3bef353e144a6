/** Where a host's notes lie, and what of them is found and removed again. */
import { beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import {
  eraseNote,
  eraseState,
  newestNotePath,
  notedProjects,
  notedVolumes,
  projectStateFolder,
  type StatePlace,
} from "../../src/state/state_folder.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();
let turn = 0;
let place: StatePlace;
beforeEach(() =>
  void (place = { root: path(`state-${turn++}`), repositoryId: "5e".repeat(16), project: "acme" })
);

function note(volume: string, of: StatePlace = place): string {
  const file = newestNotePath(of, volume);
  fs.mkdirSync(dirname(file), { recursive: true });
  fs.writeFileSync(file, "x");
  return file;
}

test("notedVolumes() has each volume with a note, ascending, also one within another's name", async () => {
  expect(await notedVolumes(place)).toEqual([]);
  for (const volume of ["rbd/vm-1", "rbd", "db"]) note(volume);
  fs.writeFileSync(join(projectStateFolder(place), "volumes/db/stray"), "x");
  fs.mkdirSync(join(projectStateFolder(place), "volumes/empty"));
  expect(await notedVolumes(place)).toEqual(["db", "rbd", "rbd/vm-1"]);
});

test("notedProjects() has each project of the repository, and of no other", async () => {
  expect(await notedProjects(place)).toEqual([]);
  note("db");
  note("db", { ...place, project: "acme2" });
  note("db", { ...place, project: "elsewhere", repositoryId: "6f".repeat(16) });
  expect(await notedProjects(place)).toEqual(["acme", "acme2"]);
});

test("eraseNote() removes one note and its folder unless others are below it", async () => {
  const [outer, inner] = [note("rbd"), note("rbd/vm-1")];
  await eraseNote(outer);
  expect(await notedVolumes(place)).toEqual(["rbd/vm-1"]);
  await eraseNote(inner);
  expect(fs.existsSync(dirname(inner))).toBe(false);
  await eraseNote(inner); // one that is gone is no error
});

test("eraseState() removes all notes of one project", async () => {
  note("db");
  note("db", { ...place, project: "acme2" });
  await eraseState(place);
  expect([await notedVolumes(place), await notedProjects(place)]).toEqual([[], ["acme2"]]);
  await eraseState(place);
});
