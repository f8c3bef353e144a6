/** Removes what this host remembers of a project: its folder, and the records of files that equal one of its backups. */
import { fileRecordsFolder, projectFolder } from "./cache_folder.ts";
import { within } from "../os/own_path.ts";
import { claimedContent, type FileContent } from "./file_record.ts";
import { listOwn, readOwn, removeOwn, removeOwnFolder } from "../os/own_files.ts";

/** Throws where something cannot be removed; nothing being there is no error, nor is a host that remembers nothing. */
export async function eraseCaches(
  root: string | undefined,
  { repository, project }: Pick<FileContent, "repository" | "project">,
): Promise<void> {
  if (root === undefined) return;
  await removeOwnFolder(projectFolder({ root, repositoryId: repository, project }));
  const records = fileRecordsFolder(root);
  for (const { name } of await listOwn(records)) {
    const bytes = await readOwn(within(records, name)).catch(() => undefined);
    // What cannot be read helps nobody, and may name the project.
    const content = bytes === undefined ? undefined : claimedContent(bytes);
    const isOthers = content !== undefined &&
      (content.repository !== repository || content.project !== project);
    if (!isOthers) await removeOwn(within(records, name));
  }
}
