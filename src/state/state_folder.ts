/**
 * What a host must not forget: `<root>/<repository id>/<project>/…`. Unlike the cache it is not made again once it is gone;
 * whoever removes a file says that what it reminds of is not to be missed any more. docs/operating.md, "What a host keeps".
 */
import { dirname, join } from "node:path";
import { isVolumeName } from "../format/names.ts";
import { listOwn, removeOwnEmpty } from "../os/own_files.ts";
import { type OwnPath, within } from "../os/own_path.ts";
import { noteError, removeNoteFile, removeNoteFolder } from "./note_file.ts";

export interface StatePlace {
  /** `$XDG_STATE_HOME/varve`. */
  root: string;
  repositoryId: string;
  project: string;
}

/** No part of a name begins with a dot, so no volume is in another's way. */
const NEWEST = ".newest";
/** Folders of a project that are looked into. */
const FOLDERS_MAX = 100_000;

/** The folder of a project's notes. */
export function projectStateFolder({ root, repositoryId, project }: StatePlace): OwnPath {
  return { root, path: join(repositoryId, project) };
}

/** The note of the newest point that was seen in the volume. */
export function newestNotePath(place: StatePlace, volume: string): OwnPath {
  return within(volumesFolder(place), volume, NEWEST);
}

function volumesFolder(place: StatePlace): OwnPath {
  return within(projectStateFolder(place), "volumes");
}

/**
 * The volumes that have a note, ascending. `onTrouble` is told of each part that cannot be looked into: whatever is in the place
 * of a volume's folder may hide its note.
 */
export async function notedVolumes(
  place: StatePlace,
  onTrouble: (error: unknown) => void,
): Promise<string[]> {
  const noted: string[] = [];
  const volumes = [""];
  for (const above of volumes) { // grows on the way
    for (const name of await namesIn(within(volumesFolder(place), above), onTrouble)) {
      const volume = join(above, name);
      if (isVolumeName(volume)) volumes.push(volume);
      else if (name === NEWEST && above !== "") noted.push(above);
    }
    if (volumes.length > FOLDERS_MAX) {
      onTrouble(
        noteError("read", volumesFolder(place), new Error(`it has more than ${FOLDERS_MAX} folders`)),
      );
      break;
    }
  }
  return noted.sort();
}

/** The projects of a repository that have a folder, ascending. */
export async function notedProjects(
  { root, repositoryId }: Omit<StatePlace, "project">,
  onTrouble: (error: unknown) => void,
): Promise<string[]> {
  return (await namesIn({ root, path: repositoryId }, onTrouble)).sort();
}

async function namesIn(folder: OwnPath, onTrouble: (error: unknown) => void): Promise<string[]> {
  try {
    return (await listOwn(folder)).map(({ name }) => name);
  } catch (error) {
    onTrouble(noteError("read", folder, error));
    return [];
  }
}

/** Removes all notes of a project. Throws `failed`. */
export async function eraseState(place: StatePlace): Promise<void> {
  await removeNoteFolder(projectStateFolder(place));
}

/** Removes one note. Throws `failed`. */
export async function eraseNote(place: OwnPath): Promise<void> {
  await removeNoteFile(place);
  await removeOwnEmpty({ ...place, path: dirname(place.path) }).catch(() => {}); // unless there are others below it
}
