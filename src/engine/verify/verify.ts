/**
 * Verify: is everything that restore points refer to there, and does it still hold what was stored? Finds and tells, and
 * changes nothing but marks: those of objects that it reads whole go.
 */
import type { Secret } from "../../codec/keys.ts";
import type { Context } from "../../context.ts";
import { findBackup } from "../../project/find_backup.ts";
import { noBackups } from "../../project/not_found.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { throwAsGone } from "../../project/seen_points.ts";
import { QuarantinedObjects, releaseQuarantined } from "../../project/sharing/quarantine.ts";
import type { ManifestScope } from "../../volume/references.ts";
import { ChunkResources } from "../../volume/resources.ts";
import { type Finding, type Located, locateFindings } from "./findings.ts";
import type { PointReport } from "./points.ts";
import { VerifiedChunks } from "./verified_chunks.ts";
import { Verifier, type VerifierOptions } from "./verifier.ts";

export interface VerifyOptions extends Omit<VerifierOptions, "scope" | "verified"> {
  project: string;
  volume?: string | undefined;
  point?: string | undefined;
  secrets: readonly Secret[];
}

/** The JSON of `varve verify`. */
export interface VerifyReport {
  project: string;
  /** Different chunks that restore points refer to. */
  chunks: number;
  /** Of these, read back. */
  chunks_read: number;
  /** Not read, for they were found whole lately. */
  chunks_fresh: number;
  downloaded_bytes: number;
  /** Objects that are still marked as not to be used. */
  marked: number;
  /** Whose marks are gone, because they were read whole. */
  unmarked: number;
  points: PointReport[];
  findings: Finding[];
  duration_s: number;
}

/** A verify's report, and what a repair needs beside it. */
export interface Verification extends Pick<Located, "needs"> {
  report: VerifyReport;
}

/**
 * Verifies a project, one of its volumes or one point. Damage is in the report, only what stops the work is thrown, and
 * `not_found` where there is nothing of that name, nor was at the last gc.
 */
export async function verify(
  repository: Repository,
  options: VerifyOptions,
  context: Context,
): Promise<VerifyReport> {
  const { project: name, secrets } = options;
  const project = await openProject(repository, { name, secrets }, context)
    .catch((error) => throwAsGone(repository, { project: name, error }, context));
  const scope = await scopeOf(project, options, context);
  const verified = await VerifiedChunks.open(project, context);
  const { report } = await verifyProject(project, { ...options, scope, verified }, context);
  const isNothing = report.points.length === 0 && report.findings.length === 0;
  if (scope.volume !== undefined && isNothing) throw await noBackups(project, scope.volume, context);
  return report;
}

/** The same for a project that is open. */
export async function verifyProject(
  project: Project,
  options: VerifierOptions,
  context: Context,
): Promise<Verification> {
  const startedMs = context.clock.now();
  const { scope, verified, sample } = options;
  await using resources = new ChunkResources({ chunkBytes: project.chunkBytes, from: "store" }, context);
  const marked = await QuarantinedObjects.read(project, context);
  const verifier = new Verifier({ project, resources, marked }, options, context);
  try {
    await verifier.run();
  } finally {
    if (verifier.chunksRead > 0) await verified.save(); // also of a run that was interrupted
  }
  const unmarked = await releaseQuarantined(project, verifier.lifted, context);
  const located = await locateFindings(project, {
    ...{ findings: verifier.findings, seen: verifier.seen, scope },
    isReadBack: sample.kind === "all",
  }, context);
  const report: VerifyReport = {
    project: project.name,
    chunks: verifier.chunks,
    chunks_read: verifier.chunksRead,
    chunks_fresh: verifier.chunksFresh,
    downloaded_bytes: verifier.downloadedBytes,
    marked: marked.size - unmarked,
    unmarked,
    points: located.points,
    findings: located.findings,
    duration_s: (context.clock.now() - startedMs) / 1000,
  };
  return { report, needs: located.needs };
}

async function scopeOf(
  project: Project,
  { volume, point }: VerifyOptions,
  context: Context,
): Promise<ManifestScope> {
  if (volume === undefined || point === undefined) return { volume };
  return { volume, backup: await findBackup(project, { volume, point }, context) };
}
