/**
 * The files of the state folder, under the guards of `os/own_files.ts`. What hinders a note is thrown, with its path: unlike a
 * cache, a note that cannot be read or written may hide a loss.
 */
import { VarveError } from "../errors.ts";
import { KIB } from "../format/limits.ts";
import { describeFileError } from "../os/file_error.ts";
import { readOwn, removeOwn, removeOwnFolder, replaceOwn } from "../os/own_files.ts";
import { type OwnPath, pathOf } from "../os/own_path.ts";
import { utf8 } from "../util/bytes.ts";

/** A file that is longer is no note, and is not taken into memory to find that out. */
const MAX_BYTES = 64 * KIB;

/** What the file holds; nothing of one that is too long for a note. `undefined` where there is none. Throws `failed`. */
export async function readNoteFile(place: OwnPath): Promise<Uint8Array | undefined> {
  const bytes = await attempt("read", place, () => readOwn(place, MAX_BYTES + 1));
  return bytes !== undefined && bytes.length > MAX_BYTES ? new Uint8Array() : bytes;
}

/**
 * Writes a note anew as a whole, for its owner alone; with `isDurable` it also outlives a power cut that comes at once. Throws
 * `failed`, and leaves what was there: what is no file of ours is not replaced, or the next run would not know of it.
 */
export async function replaceNoteFile(
  place: OwnPath,
  text: string,
  { isDurable }: { isDurable: boolean },
): Promise<void> {
  await attempt("write", place, async () => {
    await readOwn(place, 0);
    await replaceOwn(place, async (file) => {
      await file.write(utf8(text), 0);
      if (isDurable) await file.sync();
    });
  });
}

/** That it is not there is no error. Throws `failed`. */
export async function removeNoteFile(place: OwnPath): Promise<void> {
  await attempt("remove", place, () => removeOwn(place));
}

/** Removes all below it. That it is not there is no error. Throws `failed`. */
export async function removeNoteFolder(place: OwnPath): Promise<void> {
  await attempt("remove", place, () => removeOwnFolder(place));
}

async function attempt<T>(action: string, place: OwnPath, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw noteError(action, place, cause);
  }
}

/** `Cannot ACTION "PATH": STATE`. */
export function noteError(action: string, place: OwnPath, cause: unknown): VarveError {
  return new VarveError("failed", `Cannot ${action} "${pathOf(place)}": ${describeFileError(cause)}`);
}
