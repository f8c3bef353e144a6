/**
 * What a host must not forget: `<root>/<repository id>/<project>/…`. Unlike the cache it is not made again once it is gone;
 * whoever removes a file says that what it reminds of is not to be missed any more. docs/operating.md, "What a host keeps".
 */
import { readdir, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

export interface StatePlace {
  /** `$XDG_STATE_HOME/varve`. */
  root: string;
  repositoryId: string;
  project: string;
}

/** No part of a name begins with a dot, so no volume is in another's way. */
const NEWEST = ".newest";

export function projectStateFolder({ root, repositoryId, project }: StatePlace): string {
  return join(root, repositoryId, project);
}

/** The note of the newest point that was seen in the volume. */
export function newestNotePath(place: StatePlace, volume: string): string {
  return join(volumesFolder(place), volume, NEWEST);
}

function volumesFolder(place: StatePlace): string {
  return join(projectStateFolder(place), "volumes");
}

/** The volumes that have a note, ascending; none where nothing can be read. */
export async function notedVolumes(place: StatePlace): Promise<string[]> {
  const folder = volumesFolder(place);
  const files = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const notes = files.filter((file) => file.isFile() && file.name === NEWEST);
  return notes.map(({ parentPath }) => relative(folder, parentPath)).sort();
}

/** The projects of a repository that have a folder, ascending. */
export async function notedProjects({ root, repositoryId }: Omit<StatePlace, "project">): Promise<string[]> {
  return (await readdir(join(root, repositoryId)).catch(() => [])).sort();
}

/** Removes all notes of a project. */
export async function eraseState(place: StatePlace): Promise<void> {
  await rm(projectStateFolder(place), { recursive: true, force: true });
}

/** Keeps a note that is not to be used where nothing looks for one; returns where. Throws system errors. */
export async function putNoteAside(path: string): Promise<string> {
  await rename(path, `${path}.other`);
  return `${path}.other`;
}

/** Removes one note. */
export async function eraseNote(path: string): Promise<void> {
  await rm(path, { force: true });
  await rmdir(dirname(path)).catch(() => {}); // unless there are others below it
}
