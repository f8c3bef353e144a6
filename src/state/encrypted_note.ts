/**
 * That a project is encrypted, as this host has seen it. The note holds nothing: that it is there says all, and whoever can
 * write in this host's folders could only keep it from opening the project.
 */
import { access, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";

/** Writes the note, unless it is there. Throws system errors. */
export async function noteEncrypted(path: string): Promise<void> {
  if (await isNotedEncrypted(path)) return;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await using file = await open(path, "w", 0o600);
  await file.sync();
}

export async function isNotedEncrypted(path: string): Promise<boolean> {
  return await access(path).then(() => true, () => false);
}
