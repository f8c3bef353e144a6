/** The points that a volume had when a backup of it began, as far as a base is chosen from them. */
import type { DamageError } from "../errors.ts";
import { equalBytes } from "../util/bytes.ts";
import { snapshotFromJson, type SnapshotJson, snapshotText } from "../format/snapshot_name.ts";
import type { ManifestInfo } from "../format/manifest.ts";
import type { EarlierPoint } from "../sources/source.ts";
import { readPoints } from "../project/read_points.ts";
import type { Context } from "../context.ts";
import type { Project } from "../project/project.ts";

/** How many names a line lists. */
const MAX_NAMES = 5;

export interface ReadPoints {
  /** The one that was made last first. */
  points: EarlierPoint[];
  /** Those that cannot be read, by their ids. */
  damaged: Map<string, DamageError>;
}

export class EarlierPoints {
  readonly #project: Project;
  readonly #volume: string;
  /** Ids of backups that are older than their dates. */
  readonly #passedOver: ReadonlySet<string>;
  #reading: Promise<ReadPoints> | undefined;

  constructor(
    project: Project,
    { volume, passedOver }: { volume: string; passedOver: readonly string[] },
  ) {
    this.#project = project;
    this.#volume = volume;
    this.#passedOver = new Set(passedOver);
  }

  /** Reads them when first asked. */
  async read(context: Context): Promise<ReadPoints> {
    return await (this.#reading ??= this.#read(context));
  }

  /** Whether `a` was made before `b`. */
  isOlder(a: string, b: string): boolean {
    const isPassedOver = this.#passedOver.has(a);
    return isPassedOver === this.#passedOver.has(b) ? a < b : isPassedOver;
  }

  async #read(context: Context): Promise<ReadPoints> {
    const points: EarlierPoint[] = [];
    const damaged: ReadPoints["damaged"] = new Map();
    for await (const { backup, info } of readPoints(this.#project, this.#volume, context)) {
      if (info instanceof Error) damaged.set(backup, info);
      else {
        const { to_snapshot, source_id, source_snapshot_id } = info;
        points.push({ backup, to_snapshot, source_id, source_snapshot_id });
      }
    }
    return { points: points.sort((a, b) => this.isOlder(a.backup, b.backup) ? 1 : -1), damaged };
  }
}

/** Whether the point is of a snapshot that is called so. */
export function isOfSnapshot({ to_snapshot }: Pick<EarlierPoint, "to_snapshot">, name: Uint8Array): boolean {
  return to_snapshot !== null && equalBytes(snapshotFromJson(to_snapshot)!, name);
}

/**
 * A line that says which of the new points' snapshots are called as those of older points; `undefined` where none is. A point
 * that has its snapshot's id is told from others by that, whatever they are called.
 */
export async function namesUsedAgain(
  earlier: EarlierPoints,
  made: readonly ManifestInfo[],
  context: Context,
): Promise<string | undefined> {
  const named = made.filter((point) => point.to_snapshot !== null && point.source_snapshot_id === undefined);
  if (named.length === 0) return undefined;
  const { points } = await earlier.read(context);
  const used = named.filter(({ to_snapshot }) =>
    points.some((old) => isOfSnapshot(old, snapshotFromJson(to_snapshot)!))
  );
  if (used.length === 0) return undefined;
  const names = used.slice(0, MAX_NAMES).map(({ to_snapshot }) => `"${nameText(to_snapshot)}"`).join(", ");
  const more = used.length > MAX_NAMES ? ` and ${used.length - MAX_NAMES} more` : "";
  const { project, volume } = used[0]!;
  return `"${project}/${volume}" already has restore points of snapshots named ${names}${more}; an incremental stream from ` +
    `such a name may need --base`;
}

function nameText(name: SnapshotJson): string {
  return snapshotText(snapshotFromJson(name)!);
}
