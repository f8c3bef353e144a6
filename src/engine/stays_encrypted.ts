/**
 * A project that this host has opened with a secret stays encrypted: whoever can write to the store can put a key that
 * anybody can read in the place of the project's own, and what is backed up under it has no secret any more.
 */
import type { HolderKind } from "../codec/keys.ts";
import { DamageError, describeError } from "../errors.ts";
import { KEYS_PREFIX, projectPrefix } from "../format/layout.ts";
import { isNotedEncrypted, noteEncrypted } from "../state/encrypted_note.ts";
import { encryptedNotePath, eraseNote } from "../state/state_folder.ts";
import type { Context } from "./context.ts";
import type { Repository } from "./repository.ts";

/** Remembers that the project is encrypted, or throws `DamageError` where it was when this host last opened it. */
export async function checkStaysEncrypted(
  repository: Repository,
  { name, encryption }: { name: string; encryption: HolderKind },
  context: Context,
): Promise<void> {
  const path = notePath(repository, name, context);
  if (path === undefined) return;
  if (encryption !== "none") {
    // What cannot be written is no reason to fail.
    await noteEncrypted(path).catch((error) =>
      context.log.debug({ path, reason: describeError(error) }, "that the project is encrypted is not noted")
    );
  } else if (await isNotedEncrypted(path)) {
    const prefix = projectPrefix(name) + KEYS_PREFIX;
    throw new DamageError(
      prefix,
      `Cannot open project "${name}": it was encrypted when this host last opened it, and its key in "${prefix}" is now one ` +
        `that anybody can read; somebody may have replaced it: put the project's own key back, or, if the project was ` +
        `made anew, remove "${path}"`,
    );
  }
}

/** The project is made anew on this host, without a secret, in so many words. */
export async function forgetEncrypted(
  repository: Repository,
  name: string,
  context: Context,
): Promise<void> {
  const path = notePath(repository, name, context);
  if (path !== undefined) await eraseNote(path);
}

function notePath(
  { id: repositoryId }: Repository,
  project: string,
  { stateRoot: root }: Context,
): string | undefined {
  return root === undefined ? undefined : encryptedNotePath({ root, repositoryId, project });
}
