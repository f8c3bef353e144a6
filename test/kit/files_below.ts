/** What lies in a folder. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The paths of all files in the folder and those in it, ascending; none where there is no such folder. */
export function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
    .toSorted();
}
