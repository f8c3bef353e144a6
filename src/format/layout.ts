/**
 * The layout of a repository: which key holds what. Pure; the one place that knows paths.
 *
 * A *name* is a key without its `projects/<project>/`: objects are sealed under their name, so that they can be
 * copied to another repository of the same project as they are.
 */
import { isBackupId } from "./backup_id.ts";
import { fromHex, toHex } from "../util/bytes.ts";
import { ID_BYTES, LEASE_ID_BYTES } from "./limits.ts";
import { isVolumeName } from "./names.ts";

export const REPOSITORY_KEY = "varve.json";
export const PROJECTS_PREFIX = "projects/";

/** Where a chunk or page is: its id, and the lease whose suffix its key carries, if any. */
export interface ObjectRef {
  id: Uint8Array;
  lease: Uint8Array | undefined;
}

export function projectPrefix(project: string): string {
  return `${PROJECTS_PREFIX}${project}/`;
}

export const KEYS_PREFIX = "keys/";
export const CHUNKS_PREFIX = "chunks/";
export const VOLUMES_PREFIX = "volumes/";
export const LEASES_PREFIX = "leases/";
export const PLANS_PREFIX = "gc/";
export const MARKED_PREFIX = "marked/";
export const HOLDS_PREFIX = "holds/";
export const FORGOTTEN_PREFIX = "forgotten/";
/** Room that is given up when the store is full. */
export const RESERVE_KEY = "reserve";

export function keyName(keyId: string): string {
  return `${KEYS_PREFIX}${keyId}`;
}

/** Chunks and pages alike: `chunks/<ab>/<id>[.<lease>]`. */
export function chunkName(ref: ObjectRef): string {
  const id = toHex(ref.id);
  const suffix = ref.lease === undefined ? "" : `.${toHex(ref.lease)}`;
  return `${CHUNKS_PREFIX}${id.slice(0, 2)}/${id}${suffix}`;
}

/** The reference behind a chunk's name; `undefined` for anything else. */
export function parseChunkName(name: string): ObjectRef | undefined {
  const m = /^chunks\/([0-9a-f]{2})\/([0-9a-f]{64})(?:\.([0-9a-f]{32}))?$/.exec(name);
  if (m === null || !m[2]!.startsWith(m[1]!)) return undefined;
  const lease = m[3] === undefined ? undefined : fromHex(m[3], LEASE_ID_BYTES);
  return { id: fromHex(m[2]!, ID_BYTES)!, lease };
}

/** What marks a chunk, patch or page as not to be used: `marked/<ab>/<id>[.<lease>]`. */
export function markName(ref: ObjectRef): string {
  return MARKED_PREFIX + chunkName(ref).slice(CHUNKS_PREFIX.length);
}

/** What the mark of that name is about; `undefined` for anything else. */
export function parseMarkName(name: string): ObjectRef | undefined {
  return name.startsWith(MARKED_PREFIX)
    ? parseChunkName(CHUNKS_PREFIX + name.slice(MARKED_PREFIX.length))
    : undefined;
}

/** Where the manifests of the volume are, or those of all volumes. */
export function manifestsPrefix(volume: string | undefined): string {
  return volume === undefined ? VOLUMES_PREFIX : `${VOLUMES_PREFIX}${volume}/`;
}

export function manifestName(volume: string, backup: string): string {
  return `${VOLUMES_PREFIX}${volume}/${backup}`;
}

/** Volume and backup id behind a manifest's name; `undefined` for anything else, such as what no volume can be called. */
export function parseManifestName(name: string): { volume: string; backup: string } | undefined {
  return parsePlace(name, VOLUMES_PREFIX);
}

function parsePlace(name: string, prefix: string): { volume: string; backup: string } | undefined {
  const slash = name.lastIndexOf("/");
  const backup = name.slice(slash + 1);
  if (!name.startsWith(prefix) || slash < prefix.length || !isBackupId(backup)) return undefined;
  const volume = name.slice(prefix.length, slash);
  return isVolumeName(volume) ? { volume, backup } : undefined;
}

/** Where the holds of the volume are, or those of all volumes. */
export function holdsPrefix(volume: string | undefined): string {
  return volume === undefined ? HOLDS_PREFIX : `${HOLDS_PREFIX}${volume}/`;
}

/** What keeps a backup from being forgotten. */
export function holdName(volume: string, backup: string): string {
  return `${HOLDS_PREFIX}${volume}/${backup}`;
}

/** The backup that an object of this name keeps; `undefined` for anything else. */
export function parseHoldName(name: string): { volume: string; backup: string } | undefined {
  return parsePlace(name, HOLDS_PREFIX);
}

export function leaseName(lease: Uint8Array): string {
  return `${LEASES_PREFIX}${toHex(lease)}`;
}

/** What a forget took, by the lease that it ran under. */
export function forgottenName(lease: string): string {
  return `${FORGOTTEN_PREFIX}${lease}`;
}

/** The condemned objects of a gc plan whose ids begin with a byte, or all of them in a plan that is small. */
export type PlanShard = number | "all";

export function planShardName(plan: string, shard: PlanShard): string {
  return `${PLANS_PREFIX}${plan}/${shard === "all" ? shard : shard.toString(16).padStart(2, "0")}`;
}

/** What makes a plan one: written once all its shards are. */
export function planHeadName(plan: string): string {
  return `${PLANS_PREFIX}${plan}/head`;
}

/** Says that the plan was swept, or never will be. */
export function planEndName(plan: string): string {
  return `${PLANS_PREFIX}${plan}/end`;
}

/** The chunks and pages whose ids begin with the byte `shard`. */
export function chunkShardPrefix(shard: number): string {
  return `${CHUNKS_PREFIX}${shard.toString(16).padStart(2, "0")}/`;
}

/** The plan behind a name, and which part of it the object is; `undefined` for anything else. */
export function parsePlanName(
  name: string,
): { plan: string; part: "head" | "end" | { shard: PlanShard } } | undefined {
  const m = /^gc\/([0-9a-f]{32})\/(head|end|all|[0-9a-f]{2})$/.exec(name);
  if (m === null) return undefined;
  const [, plan = "", part = ""] = m;
  if (part === "head" || part === "end") return { plan, part };
  return { plan, part: { shard: part === "all" ? part : parseInt(part, 16) } };
}
