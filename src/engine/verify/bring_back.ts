/** What is not here and another repository of the project has: keys first, then points, then holds. */
import type { ProjectKeys } from "../../codec/keys.ts";
import { describeError, isUnreadable, unlessUnreadable, VarveError } from "../../errors.ts";
import { backupTimeMs } from "../../format/backup_id.ts";
import { holdsPrefix, parseHoldName } from "../../format/layout.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import { copyMissing } from "../../volume/copy_points.ts";
import { listPoints } from "../../project/points.ts";
import { nameOf, type PointRef } from "../../project/point_ref.ts";
import { ChunkResources } from "../../volume/resources.ts";
import type { Context } from "../../context.ts";
import { CondemnedObjects } from "../../project/sharing/condemned.ts";
import type { Lease } from "../../project/sharing/lease.ts";
import { withLeaseIfWritable } from "../../project/sharing/with_lease.ts";
import { listPlans } from "../../project/sharing/plans.ts";
import { newestHead } from "../../project/sharing/plan_points.ts";
import type { Project } from "../../project/project.ts";
import { isBound, keyIdOf, listKeys, writeKey } from "../../project/key_object.ts";
import type { Repository } from "../../project/repository.ts";
import { readForgotten } from "../../project/forgotten.ts";
import { readHold } from "../../project/holds.ts";
import { checkKey } from "../../project/check_beside.ts";
import type { Finding } from "./findings.ts";
import { QuarantinedObjects } from "../../project/sharing/quarantine.ts";

export interface BroughtBack {
  /** Keys of the objects that are here now. */
  healed: string[];
  /** What the other repository has only in part. */
  left: Pick<Finding, "key" | "kind" | "reason">[];
  /** Points that only the other repository has, and that were not lost here. */
  notMissed: number;
}

/**
 * Project keys that are not here, or are damaged or of another repository here: those that open the project in the other
 * repository. Throws `conflict` where the project of that name there is another one: they share no key.
 */
export async function bringBackKeys(other: Project, to: Repository, context: Context): Promise<string[]> {
  const { repositoryId: id, store, name: project } = other;
  const here = await listKeys(to.store, project, context);
  const there = await listKeys(store, project, context);
  if (here.length > 0 && there.length > 0 && !there.some((key) => here.includes(key))) {
    throw new VarveError(
      "conflict",
      `Cannot repair "${project}" from "${store.url}": that is a different project of the same name, with other keys`,
    );
  }
  const healed: string[] = [];
  for (const key of there) {
    const keys = other.knownKey(keyIdOf(key));
    if (keys === undefined || await isOfHere(to, { key, project, keys }, context)) continue;
    try {
      const { holders } = await checkKey({ id, store }, { key, project }, context);
      await writeKey(to, { name: project, keys, holders }, context);
      if (await isOfHere(to, { key, project, keys }, context)) healed.push(key);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      context.log.warn({ key }, `cannot repair it from the other repository: ${describeError(error)}`);
    }
  }
  return healed;
}

/** Whether the key can be read, and is this repository's own. */
async function isOfHere(
  repository: Repository,
  { keys, ...place }: { key: string; project: string; keys: ProjectKeys },
  context: Context,
): Promise<boolean> {
  try {
    return isBound(await checkKey(repository, place, context), keys, repository);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return false;
  }
}

interface BringBackOptions {
  project: Project;
  other: Project;
  /** Written before anything of the project was read. */
  lease: Lease;
  volume: string | undefined;
}

/**
 * Points that are not here, each with all that it needs, as a copy makes them: chunks and pages first, the manifest last,
 * and nothing under a key that a gc plan of this repository condemns. Only those that were lost here.
 */
export async function bringBackPoints(
  { project, other, lease, volume }: BringBackOptions,
  context: Context,
): Promise<BroughtBack> {
  const about = { work: "repair", volume: volume ?? project.name } as const;
  return await withLeaseIfWritable(other, about, context, async () => {
    await using resources = new ChunkResources({ chunkBytes: project.chunkBytes, from: "store" }, context);
    await project.assertNotErased({ signal: context.signal });
    const condemned = await CondemnedObjects.read(project, context);
    const marked = await QuarantinedObjects.read(project, context);
    const here = new Set((await listPoints(project, undefined, context)).map(({ name }) => name));
    const isMissed = await lossTest(project, lease, context);
    const elsewhere = (await listPoints(other, volume, context)).filter(({ name }) => !here.has(name));
    const wanted = elsewhere.filter(isMissed);
    const copying = { source: other, target: project, resources, condemned, marked, lease };
    const { damaged } = await copyMissing(copying, wanted, context);
    const left = damaged.map((place) => {
      return { key: project.objectKey(nameOf(place)), kind: "missing" as const, reason: place.reason };
    });
    const keys = wanted.map((place) => project.objectKey(nameOf(place)));
    const healed = keys.filter((key) => !left.some((point) => point.key === key));
    return { healed, left, notMissed: elsewhere.length - wanted.length };
  });
}

/**
 * Tells points that were lost from those that were forgotten, or never were here. A gc goes on only where each point that
 * is gone was forgotten, and then remembers which there are: what the newest one did not see, though it is older, is not
 * missed; and what was forgotten since is on record.
 */
async function lossTest(
  project: Project,
  lease: Lease,
  context: Context,
): Promise<(point: PointRef) => boolean> {
  const forgotten = await readForgotten(project, context);
  const head = newestHead(await listPlans(project, context), await lease.storeTimeMs(context.signal));
  const seen = new Set(head?.points);
  return (place) => {
    const name = nameOf(place);
    if (forgotten.has(name)) return false;
    return head === undefined || seen.has(name) || backupTimeMs(place.backup)! > head.made_ms;
  };
}

/** Holds of points that are here: those that are not here, and those that cannot be read. */
export async function bringBackHolds(
  { project, other, volume }: Omit<BringBackOptions, "lease">,
  context: Context,
): Promise<string[]> {
  const healed: string[] = [];
  const points = new Set((await listPoints(project, undefined, context)).map(({ name }) => name));
  for await (const { name } of other.list(holdsPrefix(volume), context)) {
    const place = parseHoldName(name);
    if (place === undefined || !points.has(nameOf(place))) continue;
    if (await holdOf(project, place, context) !== undefined) continue;
    if (await holdOf(other, place, context) === undefined) continue;
    await project.put(name, await other.fetch({ type: OBJECT_TYPE.hold, name }, context), context);
    if (await holdOf(project, place, context) !== undefined) healed.push(project.objectKey(name));
  }
  return healed;
}

/** The hold, where there is one that can be read. */
async function holdOf(project: Project, point: PointRef, context: Context) {
  return await readHold(project, point, context).catch(unlessUnreadable);
}
