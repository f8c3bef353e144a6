/** Removes what this host remembers of a project: its folder, and the records of files that equal one of its backups. */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileRecordsFolder, projectFolder } from "./cache_folder.ts";
import { decodeRecord, type FileContent } from "./file_record.ts";

/** Throws where something cannot be removed; nothing being there is no error, nor is a host that remembers nothing. */
export async function eraseCaches(
  root: string | undefined,
  { repository, project }: Pick<FileContent, "repository" | "project">,
): Promise<void> {
  if (root === undefined) return;
  await rm(projectFolder({ root, repositoryId: repository, project }), { recursive: true, force: true });
  const folder = fileRecordsFolder(root);
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    const content = await contentOf(path);
    const isOthers = content !== undefined &&
      (content.repository !== repository || content.project !== project);
    if (!isOthers) await rm(path, { force: true });
  }
}

/** `undefined` for what cannot be read: it helps nobody, and may name the project. */
async function contentOf(path: string): Promise<FileContent | undefined> {
  try {
    return decodeRecord(await readFile(path), path).content;
  } catch {
    return undefined;
  }
}
