/**
 * What an erasure will take, told by names and sizes in the store: nothing of it needs the project's secret, which may be
 * lost. docs/operating.md, "Erasing a project".
 */
import { backupTimeMs } from "../../format/backup_id.ts";
import {
  HOLDS_PREFIX,
  parseHoldName,
  parseManifestName,
  projectPrefix,
  VOLUMES_PREFIX,
} from "../../format/layout.ts";
import { assertProjectName } from "../../format/names.ts";
import { versionPages, versionsOf } from "../../store/versions.ts";
import type { Context } from "../../context.ts";
import { listKeyIds } from "../../project/key_object.ts";
import type { Repository } from "../../project/repository.ts";
import type { PointRef } from "../../project/point_ref.ts";

export interface EraseSurvey {
  project: string;
  /** Ids of the keys that are there, in hex. None where an erasure was interrupted: what else is there are its remains. */
  keys: string[];
  /** Names of the volumes that have points, ascending. */
  volumes: string[];
  points: number;
  /** When the newest of them was made, ISO 8601; `null` where there is none. */
  newest: string | null;
  /** Points that `varve hold` keeps. */
  held: PointRef[];
  /** Each old version as one. */
  objects: number;
  bytes: number;
  /** Delete markers and unfinished uploads. */
  others: number;
}

/** Looks at all that there is of a project, and twice at what is told by name. Throws `StoreError`. */
export async function surveyProject(
  repository: Repository,
  project: string,
  context: Context,
): Promise<EraseSurvey> {
  assertProjectName(project);
  const { store } = repository;
  const prefix = projectPrefix(project);
  const names = new Set<string>();
  const counts = { objects: 0, bytes: 0, others: 0 };
  for await (const { traces } of versionPages(versionsOf(store), prefix, context)) {
    for (const { kind, key, isLatest, sizeBytes } of traces) {
      if (kind !== "version") counts.others++;
      else {
        counts.objects++;
        counts.bytes += sizeBytes;
        if (isLatest) addName(names, key.slice(prefix.length));
      }
    }
  }
  for (const part of [HOLDS_PREFIX, VOLUMES_PREFIX]) {
    for await (const { key } of store.list(prefix + part, context)) addName(names, key.slice(prefix.length));
  }
  const places = [...names].map(parseManifestName).filter((place) => place !== undefined);
  const newest = places.reduce((newest, { backup }) => backup > newest ? backup : newest, "");
  return {
    project,
    keys: await listKeyIds(repository.store, project, context),
    volumes: [...new Set(places.map(({ volume }) => volume))].sort(),
    points: places.length,
    newest: newest === "" ? null : new Date(backupTimeMs(newest)!).toISOString(),
    held: [...names].map(parseHoldName).filter((place) => place !== undefined),
    ...counts,
  };
}

/** Chunks are millions, and their names tell nothing. */
function addName(names: Set<string>, name: string): void {
  if (name.startsWith(HOLDS_PREFIX) || name.startsWith(VOLUMES_PREFIX)) names.add(name);
}
