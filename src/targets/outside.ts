/** Keeps a restore from writing into the repository that it reads. */
import * as fs from "node:fs";
import * as path from "node:path";
import { VarveError } from "../errors.ts";
import { placeOf } from "./new_file.ts";

/** `url`: of the repository. Throws where that is a directory, and the target lies in it, by whatever path. */
export function assertOutside(name: string, url: string): void {
  const repository = path.isAbsolute(url) ? identityOf(url) : undefined;
  if (repository === undefined) return;
  for (const folder of aboveOf(realPath(path.dirname(placeOf(name))))) {
    if (identityOf(folder) !== repository) continue;
    throw new VarveError(
      "failed",
      `Cannot restore to "${name}": it is in the repository "${url}"; name a place outside of it`,
    );
  }
}

/** The folder and all above it. */
function aboveOf(folder: string): string[] {
  const above = path.dirname(folder);
  return above === folder ? [folder] : [folder, ...aboveOf(above)];
}

function identityOf(folder: string): string | undefined {
  const stats = fs.statSync(folder, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}`;
}

function realPath(name: string): string {
  try {
    return fs.realpathSync(name);
  } catch {
    return name;
  }
}
