/**
 * What a volume has when a backup of it begins: the newest backup that can be read, which the new one follows, and those that
 * are dated later than the store's clock. docs/format.md, "Manifests".
 */
import { ChunkSizeError, DamageError } from "../../errors.ts";
import { backupTimeMs } from "../../format/backup_id.ts";
import { infoOrDamage, manifestOrDamage, type OpenManifest, reasonOf } from "../../project/manifests.ts";
import { listBackupIds } from "../../project/points.ts";
import type { Context } from "../../context.ts";
import type { Project } from "../../project/project.ts";
import { findMissed } from "../../project/seen_points.ts";
import { mapOrdered } from "../../util/task_limiter.ts";

/** S3 tells whole seconds, and of a second backup within one the id is a millisecond later than that of the first. */
const CLOCK_SLACK_MS = 60_000;
/** Manifests read at once. */
const READS_AT_ONCE = 16;

interface EarlierBackups {
  /** `undefined` where no manifest of the volume can be read. */
  latest: OpenManifest | undefined;
  /** When it was made, by the store's clock, if that can be believed; milliseconds since 1970. */
  latestMs: number | undefined;
  /** Ids of those that are dated later than the store's clock: the clock was wrong then, or is now. */
  passedOver: string[];
  /** There is no manifest, readable or not. */
  isNone: boolean;
}

/** `storeTimeMs` is the store's time. Says which backups cannot be read, are passed over, or were seen by this host and are gone. */
export async function findLatest(
  project: Project,
  { volume, storeTimeMs }: { volume: string; storeTimeMs: number },
  context: Context,
): Promise<EarlierBackups> {
  const ids = await listBackupIds(project, volume, context);
  const isLater = (id: string) => backupTimeMs(id)! > storeTimeMs + CLOCK_SLACK_MS;
  const passedOver = await readable(project, { volume, ids: ids.filter(isLater) }, context);
  sayPassedOver(passedOver, `${project.name}/${volume}`, context);
  const latest = await newest(project, { volume, ids: ids.filter((id) => !isLater(id)) }, context);
  const known = new Set([...passedOver, latest?.info.backup]);
  const points = ids.map((backup) => ({
    volume,
    backup,
    isReadable: known.has(backup),
    passedOver: backup === latest?.info.backup ? latest.info.passed_over : undefined,
  }));
  await findMissed(project, { volume, points }, context);
  return {
    latest: latest ?? await newest(project, { volume, ids: passedOver }, context),
    latestMs: latest && backupTimeMs(latest.info.backup),
    passedOver,
    isNone: ids.length === 0,
  };
}

interface Choice {
  volume: string;
  ids: readonly string[];
}

/**
 * The newest that can be read: one that is damaged must not keep the volume from being backed up. Throws `format_version` where
 * a later varve has backed it up, and `ChunkSizeError` where none can be read and one is cut otherwise: it is `varve.json` then
 * that was changed, and what was stored now could not be read once it is put right.
 */
async function newest(
  project: Project,
  { volume, ids }: Choice,
  context: Context,
): Promise<OpenManifest | undefined> {
  let cutOtherwise: ChunkSizeError | undefined;
  for (const backup of ids.toReversed()) {
    const manifest = await manifestOrDamage(project, { volume, backup }, context);
    if (!(manifest instanceof DamageError)) {
      if (manifest !== undefined) return manifest;
      continue;
    }
    const reason = reasonOf(manifest);
    if (reason !== manifest) throw reason;
    if (manifest instanceof ChunkSizeError) cutOtherwise ??= manifest;
    context.log.warn({ volume, backup }, `${manifest.message}; continuing without it`);
  }
  if (cutOtherwise !== undefined) throw cutOtherwise;
}

/** Of names nobody knows who gave them. */
async function readable(project: Project, { volume, ids }: Choice, context: Context): Promise<string[]> {
  const readable: string[] = [];
  const read = (backup: string) => infoOrDamage(project, { volume, backup }, context);
  for await (const info of mapOrdered(ids, read, { limit: READS_AT_ONCE })) {
    if (info instanceof DamageError) context.log.warn({ volume }, `${info.message}; continuing without it`);
    else if (info !== undefined) readable.push(info.backup);
  }
  return readable;
}

function sayPassedOver(ids: readonly string[], thing: string, { log }: Context): void {
  const [first] = ids;
  if (first === undefined) return;
  const text = ids.length === 1
    ? `"${thing}@${first}" is dated in the future by the store's clock; it is ignored in the order`
    : `${ids.length} restore points of "${thing}", "${first}" to "${
      ids.at(-1)
    }", are dated in the future by the store's clock; ` +
      `they are ignored in the order`;
  log.warn({}, text);
}
