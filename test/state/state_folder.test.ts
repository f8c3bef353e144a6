/** Where a host's notes lie, and what of them is found and removed again. */
import { beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { dirname } from "node:path";
import { type OwnPath, pathOf, within } from "../../src/os/own_path.ts";
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

/** What the walks were told of. */
let told: string[];
beforeEach(() => void (told = []));
const onTrouble = (error: unknown) => void told.push((error as Error).message);

function note(volume: string, of: StatePlace = place): OwnPath {
  const file = newestNotePath(of, volume);
  fs.mkdirSync(dirname(pathOf(file)), { recursive: true, mode: 0o700 });
  fs.writeFileSync(pathOf(file), "x");
  return file;
}

test("notedVolumes() has each volume with a note, ascending, also one within another's name", async () => {
  expect(await notedVolumes(place, onTrouble)).toEqual([]);
  for (const volume of ["rbd/vm-1", "rbd", "db"]) note(volume);
  const volumes = pathOf(within(projectStateFolder(place), "volumes"));
  fs.mkdirSync(`${volumes}/empty`);
  expect(await notedVolumes(place, onTrouble)).toEqual(["db", "rbd", "rbd/vm-1"]);
  expect(told).toEqual([]);
});

test("notedVolumes() tells of what may hide a volume's note, and goes on", async () => {
  for (const volume of ["rbd", "db"]) note(volume);
  const volumes = pathOf(within(projectStateFolder(place), "volumes"));
  fs.writeFileSync(`${volumes}/aa`, "x");
  fs.symlinkSync(".", `${volumes}/loop`);
  expect(await notedVolumes(place, onTrouble)).toEqual(["db", "rbd"]);
  expect(told.toSorted()).toEqual([
    `Cannot read "${volumes}/aa": not a directory (ENOTDIR)`,
    expect.stringMatching(/^Cannot read ".*\/loop": "loop" is a link, which varve does not follow/),
  ]);
});

test("notedProjects() has each project of the repository, and of no other", async () => {
  expect(await notedProjects(place, onTrouble)).toEqual([]);
  note("db");
  note("db", { ...place, project: "acme2" });
  note("db", { ...place, project: "elsewhere", repositoryId: "6f".repeat(16) });
  expect(await notedProjects(place, onTrouble)).toEqual(["acme", "acme2"]);
});

test("eraseNote() removes one note and its folder unless others are below it", async () => {
  const [outer, inner] = [note("rbd"), note("rbd/vm-1")];
  await eraseNote(outer);
  expect(await notedVolumes(place, onTrouble)).toEqual(["rbd/vm-1"]);
  await eraseNote(inner);
  expect(fs.existsSync(dirname(pathOf(inner)))).toBe(false);
  await eraseNote(inner); // one that is gone is no error
});

test("eraseState() removes all notes of one project", async () => {
  note("db");
  note("db", { ...place, project: "acme2" });
  await eraseState(place);
  expect([await notedVolumes(place, onTrouble), await notedProjects(place, onTrouble)]).toEqual([[], [
    "acme2",
  ]]);
  await eraseState(place);
});
