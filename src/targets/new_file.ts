/** Where a target that is not there yet may be made. */
import * as fs from "node:fs";
import * as path from "node:path";
import { VarveError } from "../errors.ts";

/** As many as the system follows. */
const LINKS_MAX = 40;

/** Throws where a new file would be made in the place of a device that is not there, or where no folder is. */
export function assertCreatable(name: string): void {
  const place = placeOf(name);
  const folder = path.dirname(place);
  if (!fs.existsSync(folder)) {
    throw new VarveError(
      "failed",
      `Cannot restore to "${name}": the directory "${folder}" does not exist; mount or create it first`,
    );
  }
  const real = `${fs.realpathSync(folder)}/`;
  if (real.startsWith("/dev/") && !real.startsWith("/dev/shm/")) {
    throw new VarveError(
      "failed",
      `Cannot restore to "${name}": the device does not exist; map or attach it first`,
    );
  }
}

/** What the name stands for where it is a link, also to something that is not there. */
export function placeOf(name: string): string {
  let place = path.resolve(name);
  for (let links = 0; links < LINKS_MAX; links++) {
    const found = fs.lstatSync(place, { throwIfNoEntry: false });
    if (found?.isSymbolicLink() !== true) break;
    place = path.resolve(path.dirname(place), fs.readlinkSync(place));
  }
  return place;
}
