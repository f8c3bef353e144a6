/** Where a backup of an image begins: at the newest of its snapshots that was backed up, by ids. Pure. */
import { idsMatch } from "../format/source_ids.ts";
import type { RbdSnapshot } from "../rbd/image.ts";
import type { EarlierPoint } from "./source.ts";

interface Since {
  /** `undefined`: the whole image. */
  snapshot: RbdSnapshot | undefined;
  /** Why the whole image, where the volume has points and that may surprise. */
  reason?: string;
}

/**
 * `snapshots` are those of the image `sourceId`, oldest first, `to` the one to back up, `points` the volume's. One that is
 * backed up once more begins at itself: nothing has changed since.
 */
export function chooseSince(
  { sourceId, to, snapshots }: { sourceId: string; to: RbdSnapshot; snapshots: readonly RbdSnapshot[] },
  points: readonly EarlierPoint[],
): Since {
  const ofImage = points.filter(({ source_id }) => idsMatch(source_id, sourceId));
  const isBackedUp = ({ id, name }: RbdSnapshot) =>
    ofImage.some((point) => point.to_snapshot === name && point.source_snapshot_id === String(id));
  const snapshot = snapshots.filter(({ id }) => id <= to.id).findLast(isBackedUp);
  if (snapshot !== undefined || points.length === 0) return { snapshot };
  const others = snapshots.filter((other) => !isBackedUp(other));
  return { snapshot, reason: reasonOf(ofImage, { others, points }) };
}

function reasonOf(
  ofImage: readonly EarlierPoint[],
  { others, points }: { others: readonly RbdSnapshot[]; points: readonly EarlierPoint[] },
): string {
  if (points.every(({ source_id }) => source_id === undefined)) {
    return "its restore points do not record the id of their image";
  }
  if (ofImage.length === 0) {
    return "it is not the image that was backed up before, even if it has the same name";
  }
  const anew = others.find(({ name }) => ofImage.some(({ to_snapshot }) => to_snapshot === name));
  if (anew !== undefined) return `its snapshot "${anew.name}" was recreated after it was backed up`;
  return "none of its snapshots that were backed up exists any more";
}
