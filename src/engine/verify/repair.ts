/**
 * Repair: bring back what is lost, verify, heal what is missing or damaged, and again, until nothing new is found: a page
 * that was healed shows what it refers to. Takes nothing away. What cannot be healed is marked as not to be used: backups
 * then take it for absent, and the next one that has the same content stores it again.
 */
import { VarveError } from "../../errors.ts";
import type { Source } from "../../sources/source.ts";
import type { Store } from "../../store/store.ts";
import { listBackupIds } from "../../project/points.ts";
import { ChunkResources } from "../../volume/resources.ts";
import type { Context } from "../../context.ts";
import type { Lease } from "../../project/sharing/lease.ts";
import { withLease } from "../../project/sharing/with_lease.ts";
import { noBackups } from "../../project/not_found.ts";
import { isProject, noProject, openProject, type Secret } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import { openSecond, type Repository } from "../../project/repository.ts";
import { bringBackHolds, bringBackKeys, bringBackPoints, type BroughtBack } from "./bring_back.ts";
import type { Finding } from "./findings.ts";
import { Healing } from "./healing.ts";
import { SourceHealer, type SourceOpener } from "./heal_source.ts";
import { healFromStored, healManifests } from "./heal_stored.ts";
import { quarantine, QuarantinedObjects, releaseQuarantined } from "../../project/sharing/quarantine.ts";
import type { PointReport } from "./points.ts";
import { VerifiedChunks } from "./verified_chunks.ts";
import { type Verification, verifyProject } from "./verify.ts";

/** A store that answers this way and that must not keep a repair going for ever. */
const MAX_ROUNDS = 50;

export interface RepairOptions {
  project: string;
  volume?: string | undefined;
  secrets: readonly Secret[];
  /** A device or image that may still hold the content; where it is given open, it has to give its bytes again and again. */
  source?: Source | SourceOpener | undefined;
  /** Another repository's store. */
  fromStore?: Store | undefined;
}

/** The JSON of `varve repair`. */
export interface RepairReport {
  project: string;
  /** Keys of what is whole again: written and read back. */
  healed: string[];
  /** Keys of what is not. */
  left: Pick<Finding, "key" | "kind" | "reason">[];
  /** Of these, the chunks, patches and pages that are marked: the next backup that has their content stores them again. */
  marked: string[];
  /** Points that only the other repository has, and that were forgotten here, or never were here. */
  not_missed: number;
  /** The points that are not whole. */
  points: PointReport[];
  /** Why not, as a verify tells it. */
  findings: Finding[];
  duration_s: number;
}

/** What one repair holds while it works. */
interface RepairRun {
  options: RepairOptions;
  project: Project;
  other: Project | undefined;
  lease: Lease;
  verified: VerifiedChunks;
  source: SourceHealer | undefined;
}

/** Heals what it can. Throws only what stops the work; what is left is in the report. */
export async function repair(
  repository: Repository,
  options: RepairOptions,
  context: Context,
): Promise<RepairReport> {
  const startedMs = context.clock.now();
  const { project: name, volume, secrets, fromStore } = options;
  const { chunkBytes } = repository;
  const second = fromStore &&
    await openSecond(fromStore, { chunkBytes, cannot: "Cannot repair from" }, context);
  const other = second && await openProject(second, { name, secrets }, context);
  const keys = other === undefined ? [] : await healKeys(repository, other, context);
  const project = await openProject(repository, { name, secrets }, context);
  const about = { work: "repair", volume: volume ?? name } as const;
  return await withLease(project, about, context, async (lease, guarded) => {
    const verified = await VerifiedChunks.open(project, guarded);
    const source = options.source && new SourceHealer(openerOf(options.source));
    const run: RepairRun = { options, project, other, lease, verified, source };
    const back = await bringBack(run, guarded);
    const { healed, ...report } = await healAll(run, guarded);
    const all = { healed: [...keys, ...back.healed, ...healed], left: [...back.left, ...report.left] };
    const isNothing = all.healed.length + all.left.length === 0;
    if (volume !== undefined && isNothing && (await listBackupIds(project, volume, guarded)).length === 0) {
      throw await noBackups(project, volume, guarded);
    }
    return {
      project: name,
      ...report,
      ...all,
      not_missed: back.notMissed,
      duration_s: (context.clock.now() - startedMs) / 1000,
    };
  });
}

/** A project of which nothing is here was not damaged: it was never made, or was erased. Throws `not_found` for it. */
async function healKeys(
  repository: Repository,
  other: Project,
  context: Context,
): Promise<string[]> {
  const { name, store: fromStore } = other;
  const { store } = repository;
  const isHere = async () => await isProject(repository, name, context);
  if (await isHere() || await isHere()) { // one look is no proof
    return await bringBackKeys(other, repository, context);
  }
  const missing = await noProject(
    repository,
    `Cannot repair project "${name}": it does not exist`,
    context,
  );
  const copying = `varve copy ${name} --repo ${fromStore.url} --to ${store.url}`;
  const advice = `create it with "varve init ${name}", or copy it with "${copying}"`;
  throw new VarveError("not_found", `${missing.message}; ${advice}`);
}

function openerOf(source: Source | SourceOpener): SourceOpener {
  return typeof source === "function" ? source : () => Promise.resolve(source);
}

async function bringBack(
  { options, project, other, lease }: RepairRun,
  context: Context,
): Promise<BroughtBack> {
  if (other === undefined) return { healed: [], left: [], notMissed: 0 };
  const at = { project, other, lease, volume: options.volume };
  const { healed, ...rest } = await bringBackPoints(at, context);
  return { healed: [...healed, ...await bringBackHolds(at, context)], ...rest };
}

/** Rounds, each of a verify and of healing what it found, until one finds nothing that it can heal. */
async function healAll(run: RepairRun, context: Context) {
  const healed = new Set<string>();
  for (let round = 0;; round++) {
    const { report, needs } = await verifyRound(run, round, context);
    const healing = await healRound(run, { findings: report.findings, needs, healed }, context);
    for (const key of healing.healed) healed.add(key);
    if (isProgress(run, healing) && round < MAX_ROUNDS) continue;
    const left = [...healing.open.values()].map(({ key, kind, reason }) => ({ key, kind, reason }));
    for (const { key } of left) healed.delete(key);
    const points = report.points.filter(({ state }) => state === "damaged" || state === "unreadable");
    return {
      healed: [...healed],
      left,
      marked: healing.marked.toSorted(),
      points,
      findings: report.findings,
    };
  }
}

function isProgress({ source }: RepairRun, { healed, recovered }: Healing): boolean {
  return healed.length + recovered.length > 0 || source?.hasMore === true;
}

/** What the first round has read whole is not read again. */
async function verifyRound(
  { options, project, verified }: RepairRun,
  round: number,
  context: Context,
): Promise<Verification> {
  const maxAgeDays = round === 0 ? undefined : 0;
  const scope = { volume: options.volume };
  return await verifyProject(project, { scope, verified, sample: { kind: "all" }, maxAgeDays }, context);
}

async function healRound(
  run: RepairRun,
  found: Pick<Verification, "needs"> & { findings: Finding[]; healed: ReadonlySet<string> },
  context: Context,
): Promise<Healing> {
  const { project, other, lease, verified, source } = run;
  await using resources = new ChunkResources({ chunkBytes: project.chunkBytes, from: "stream" }, context);
  const healing = new Healing({ project, other, lease, resources, verified, ...found }, context);
  if (found.findings.length === 0) return healing;
  await healManifests(healing, context);
  await healFromStored(healing, context);
  await source?.heal(healing, context);
  if (!isProgress(run, healing)) await markOpen(healing, context);
  return healing;
}

/** Marks what has no right bytes, after one more look at it, and looks once more: who has healed it meanwhile saw no mark. */
async function markOpen(healing: Healing, context: Context): Promise<void> {
  const { project, lease } = healing.parts;
  const objects = healing.objects();
  if (objects.length === 0) return;
  const before = await QuarantinedObjects.read(project, context);
  const at = new Date(await lease.storeTimeMs(context.signal)).toISOString();
  await healing.each(objects, async ({ finding: { key, kind, reason }, need: { ref } }) => {
    if (await healing.isWhole(ref)) return healing.recover(key);
    if (!before.has(ref)) {
      await quarantine(project, { ref, found: kind, reason, at }, context);
      if (await healing.isWhole(ref)) {
        await releaseQuarantined(project, [ref], context);
        return healing.recover(key);
      }
    }
    healing.marked.push(key);
  });
}
