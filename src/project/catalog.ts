/** A project's catalogue, as `list` and `show` report it. */
import type { HolderKind, Secret } from "../codec/keys.ts";
import { type Context, tellProblem } from "../context.ts";
import { DamageError, isUnreadable } from "../errors.ts";
import type { ChunkCounts, ManifestInfo } from "../format/manifest.ts";
import { snapshotFromJson, type SnapshotJson } from "../format/snapshot_name.ts";
import { type KnownIds, knownIds, type SourceIds } from "../format/source_ids.ts";
import { findBackup } from "./find_backup.ts";
import { Holds, readHold } from "./holds.ts";
import { readInfo } from "./manifests.ts";
import { noBackups } from "./not_found.ts";
import { openProject } from "./open_project.ts";
import type { PointRef } from "./point_ref.ts";
import type { Project } from "./project.ts";
import { readPoints } from "./read_points.ts";
import type { Repository } from "./repository.ts";
import { findMissed, sayIfProjectIsGone } from "./seen_points.ts";

/** One line of `list`, as its JSON. */
export interface BackupInfo extends KnownIds {
  backup: string;
  project: string;
  volume: string;
  time: string;
  size_bytes: number;
  from_snapshot: SnapshotJson;
  to_snapshot: SnapshotJson;
  /** The backup that it is an increment to; `null`: a full one. */
  base: string | null;
  tags: string[];
  host: string;
  stream_bytes: number;
  chunks: ChunkCounts;
  /** What it added to the store. */
  uploaded_bytes: number;
  duration_s: number;
  /** It cannot be forgotten. */
  held: boolean;
  /** What its project opens with: `none` is for whoever can read the store. */
  encryption: HolderKind;
}

/** What `show` tells: everything of a manifest but its pages. */
export interface BackupDetails extends Omit<ManifestInfo, keyof SourceIds>, KnownIds {
  encryption: HolderKind;
  held: boolean;
  /** What was said when it was held. */
  hold_reason: string | null;
  raw: { from_snapshot: Uint8Array | null; to_snapshot: Uint8Array | null };
}

/**
 * The backups of a project, or of one volume; oldest first within a volume. A backup that cannot be read is told of as a
 * problem. Throws `not_found` where there is no such project, or the volume has no backups.
 */
export async function listBackups(
  repository: Repository,
  { project: name, volume, secrets }: {
    project: string;
    volume?: string | undefined;
    secrets: readonly Secret[];
  },
  context: Context,
): Promise<BackupInfo[]> {
  const project = await openProject(repository, { name, secrets }, context)
    .catch((error) => sayIfProjectIsGone(repository, { project: name, error }, context));
  const holds = await Holds.read(project, volume, context);
  const points = await Array.fromAsync(readPoints(project, volume, context));
  const listed = points.map(({ info, ...point }) => ({
    ...point,
    isReadable: !(info instanceof DamageError),
    passedOver: info instanceof DamageError ? undefined : info.passed_over,
  }));
  await findMissed(project, { volume, points: listed }, context);
  if (points.length === 0 && volume !== undefined) throw await noBackups(project, volume, context);
  const list: BackupInfo[] = [];
  for (const { info } of points) {
    if (info instanceof DamageError) tellProblem(info, context);
    else list.push(briefly(info, { held: holds.has(info), encryption: project.encryption }));
  }
  return list;
}

/** Everything that is known of one backup. */
export async function showBackup(
  repository: Repository,
  options: { project: string; volume: string; point: string | undefined; secrets: readonly Secret[] },
  context: Context,
): Promise<BackupDetails> {
  const project = await openProject(repository, { name: options.project, secrets: options.secrets }, context);
  const backup = await findBackup(project, options, context);
  const place = { volume: options.volume, backup };
  const info = await readInfo(project, place, context);
  const { held, reason } = await lookForHold(project, place, context);
  const raw = {
    from_snapshot: snapshotFromJson(info.from_snapshot) ?? null,
    to_snapshot: snapshotFromJson(info.to_snapshot) ?? null,
  };
  return { ...info, ...knownIds(info), encryption: project.encryption, held, hold_reason: reason, raw };
}

/** Whatever has a hold's name is one; of one that cannot be read just the reason is not known. */
async function lookForHold(project: Project, place: PointRef, context: Context) {
  try {
    const hold = await readHold(project, place, context);
    return { held: hold !== undefined, reason: hold?.reason ?? null };
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    tellProblem(error, context);
    return { held: true, reason: null };
  }
}

function briefly(info: ManifestInfo, state: Pick<BackupInfo, "held" | "encryption">): BackupInfo {
  const { backup, project, volume, time, size_bytes, from_snapshot, to_snapshot, base, tags, host } = info;
  const { stream_bytes, chunks, uploaded_bytes, duration_s } = info;
  return {
    backup,
    project,
    volume,
    time,
    size_bytes,
    from_snapshot,
    to_snapshot,
    ...knownIds(info),
    base,
    tags,
    host,
    stream_bytes,
    chunks,
    uploaded_bytes,
    duration_s,
    ...state,
  };
}
