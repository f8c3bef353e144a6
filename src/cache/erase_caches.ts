/** Removes what this host remembers of a project: its folder, and the records of files that equal one of its backups. */
import { readdir, rm, unlink } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "../os/fd.ts";
import type { Folder } from "../os/folder.ts";
import { type CachePath, fileRecordsFolder, openCacheFolder, readCached } from "./cache_folder.ts";
import { claimedContent, type FileContent } from "./file_record.ts";

/** Throws where something cannot be removed; nothing being there is no error, nor is a host that remembers nothing. */
export async function eraseCaches(
  root: string | undefined,
  { repository, project }: Pick<FileContent, "repository" | "project">,
): Promise<void> {
  if (root === undefined) return;
  await within({ root, path: repository }, async (folder) => {
    await rm(folder.at(project), { recursive: true, force: true });
  });
  const records = fileRecordsFolder(root);
  await within(records, async (folder) => {
    for (const name of await readdir(folder.here)) {
      const bytes = await readCached({ root, path: join(records.path, name) });
      // What cannot be read helps nobody, and may name the project.
      const content = bytes === undefined ? undefined : claimedContent(bytes);
      const isOthers = content !== undefined &&
        (content.repository !== repository || content.project !== project);
      if (!isOthers) await unlink(folder.at(name));
    }
  });
}

async function within(place: CachePath, work: (folder: Folder) => Promise<void>): Promise<void> {
  try {
    using folder = await openCacheFolder(place);
    await work(folder);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}
