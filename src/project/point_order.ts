/**
 * In which order the backups of a volume were made. Ids sort by the store's clock, and that may have been wrong once: a
 * backup names those that were there before it although they are dated later. docs/format.md, "Manifests". Pure.
 */
import type { ManifestInfo } from "../format/manifest.ts";

interface PointOrder {
  /** Every id, the one that was made first first. */
  made: string[];
  /** Of these as many as there can be whose dates ascend, too: the dates of the others are wrong. */
  dated: string[];
}

/** The order of the backups that have these infos, which come in the order of their ids. */
export function orderPoints(infos: readonly Pick<ManifestInfo, "backup" | "passed_over">[]): PointOrder {
  const ids = infos.map(({ backup }) => backup);
  if (infos.every(({ passed_over = [] }) => passed_over.length === 0)) return { made: ids, dated: ids };
  const passedOver = new Map(infos.map(({ backup, passed_over }) => [backup, new Set(passed_over)]));
  const made = ids.toSorted((a, b) => a < b ? inOrder(a, b, passedOver) : -inOrder(b, a, passedOver));
  return { made, dated: longestAscending(made) };
}

/** Of two ids, `a` being the smaller: negative where it was made first, too. */
function inOrder(a: string, b: string, passedOver: ReadonlyMap<string, ReadonlySet<string>>): number {
  if (a === b) return 0;
  return passedOver.get(a)!.has(b) ? 1 : -1;
}

/**
 * The longest run of ids that ascend, not necessarily neighbours; of several equally long ones that of the later backups
 * (Fredman 1975, "On computing the length of longest increasing subsequences").
 */
function longestAscending(ids: readonly string[]): string[] {
  /** By length, less one: where the run of that length ends whose end is smallest. */
  const ends: number[] = [];
  const before: (number | undefined)[] = [];
  for (const [at, id] of ids.entries()) {
    let length = ends.length;
    while (length > 0 && ids[ends[length - 1]!]! >= id) length--;
    before[at] = ends[length - 1];
    ends[length] = at;
  }
  const run: string[] = [];
  for (let at = ends.at(-1); at !== undefined; at = before[at]) run.unshift(ids[at]!);
  return run;
}
