/** This host's note of the newest point of a volume: how it is read and written. docs/operating.md, "What a host keeps". */
import { list, orNull, record, tryRead } from "../format/document.ts";
import * as field from "../format/fields.ts";
import { pathOf } from "../os/own_path.ts";
import { type NotePlace, readNote, UntrustedNote, writeNote } from "../state/sealed_note.ts";
import { eraseNote, newestNotePath, type StatePlace } from "../state/state_folder.ts";
import type { Context } from "../context.ts";
import type { Project } from "./project.ts";

/** Points of a volume that are missed at once; of more the newest. */
export const MISSED_MAX = 100;

interface SeenNote {
  /** The newest that was seen. */
  newest: string | null;
  /** Those before it that were seen and are gone: missed until the note is removed. */
  missed: string[];
}

const readNoteContent = record<SeenNote>({
  newest: orNull(field.backupId),
  missed: list(field.backupId, { most: MISSED_MAX }),
});

/** A note that is there, and does not tell what this host has seen. It is never written over. */
export class DoubtfulNote {
  readonly volume: string;
  /** What is to be said of it, and what to do. */
  readonly state: string;

  constructor(volume: string, state: string) {
    this.volume = volume;
    this.state = state;
  }
}

interface SeenPlace {
  place: StatePlace;
  volume: string;
}

/** Where this host keeps what it has seen of the project; `undefined`: nowhere. */
export function statePlace(project: Project, { stateRoot: root }: Context): StatePlace | undefined {
  if (root === undefined) return undefined;
  return { root, repositoryId: project.repositoryId, project: project.name };
}

function notePlace({ place, volume }: SeenPlace): NotePlace {
  const { repositoryId, project } = place;
  return { file: newestNotePath(place, volume), about: `newest ${repositoryId} ${project}/${volume}` };
}

export async function readSeen(
  project: Project,
  { place, volume }: SeenPlace,
  { onStateTrouble }: Context,
): Promise<SeenNote | DoubtfulNote> {
  const at = notePlace({ place, volume });
  const content = await readNote(at, (id) => project.findKey(id))
    .catch((error) => onStateTrouble?.(error));
  if (content === undefined) return { newest: null, missed: [] };
  const note = content instanceof UntrustedNote ? undefined : tryRead(content, readNoteContent);
  if (note !== undefined) return note;
  const keyId = content instanceof UntrustedNote ? content.keyId : undefined;
  return new DoubtfulNote(volume, doubt(project, { volume, path: pathOf(at.file), keyId }));
}

function doubt(
  project: Project,
  { volume, path, keyId }: { volume: string; path: string; keyId: string | undefined },
): string {
  const note = `this host's note of the newest restore point of "${project.name}/${volume}"`;
  if (keyId === undefined) {
    return `${note} cannot be read: "${path}" was changed, so a lost point would not be noticed; ` +
      `check which points there should be, then remove it`;
  }
  if (project.hasDamagedKey(keyId)) {
    return `${note} was written with the key ${keyId}, which cannot be used, so a lost point would not be noticed; ` +
      `restore the key`;
  }
  return `${note} was written with the key ${keyId}, which the project does not have any more: ` +
    `it was replaced by another one, or the store was reset to an older state; ` +
    `if the project was erased and created again on purpose, remove "${path}"`;
}

interface NoteToWrite extends SeenPlace {
  note: SeenNote;
  /** A list may see news of a thousand volumes: what another host made it can see again. */
  isDurable?: boolean | undefined;
}

/** What cannot be written is no reason to fail. */
export async function writeSeen(
  project: Project,
  { note, isDurable, ...seen }: NoteToWrite,
  { onStateTrouble }: Context,
): Promise<void> {
  const at = notePlace(seen);
  try {
    if (note.newest === null && note.missed.length === 0) await eraseNote(at.file);
    else await writeNote(at, { keys: project.firstKey, content: { ...note }, isDurable });
  } catch (error) {
    onStateTrouble?.(error);
  }
}
