/** What an erasure had to leave behind, and what holds it: read anew from the store, which proves the rest gone. */
import { versionPages, versionsOf } from "../../store/versions.ts";
import type { ObjectVersions, Store, StoredVersion } from "../../store/store.ts";
import { type Context, DEFAULT_JOBS } from "../../context.ts";
import { forEachLimited } from "../../util/task_limiter.ts";

/** Objects that the report names; the others are only counted. */
const NAMED_MAX = 1000;

/** One object that is still there. */
interface LockedObject {
  key: string;
  /** Empty where the store has no versions. */
  version: string;
  size_bytes: number;
  /** When its retention ends; `null` where none holds it. */
  until: string | null;
  legal_hold: boolean;
}

export interface LockedReport {
  /** Each old version as one. */
  objects: number;
  bytes: number;
  /** Of the objects: the project's keys. While there is one, who has its secret can read what else is left. */
  keys: number;
  /** When the last retention ends. */
  until: string | null;
  legal_holds: number;
  /** Neither retention nor a legal hold: rights are missing, or the store could not. */
  not_locked: number;
  /** Delete markers and unfinished uploads. */
  others: number;
  /** The first ones. */
  named: LockedObject[];
}

/** Walks over everything below the prefix, with a look at each object that is left. Throws `StoreError`. */
export async function surveyLocked(
  store: Store,
  { prefix, keysPrefix }: { prefix: string; keysPrefix: string },
  context: Context,
): Promise<LockedReport> {
  const history = versionsOf(store);
  const report = emptyReport();
  async function* versions() {
    for await (const { traces } of versionPages(history, prefix, context)) {
      for (const trace of traces) {
        if (trace.kind === "version") yield trace;
        else report.others++;
      }
    }
  }
  await forEachLimited(versions(), context.jobs ?? DEFAULT_JOBS, async (version) => {
    if (version.key.startsWith(keysPrefix)) report.keys++;
    add(report, await readLock(history, version, context));
  });
  return report;
}

function emptyReport(): LockedReport {
  return {
    objects: 0,
    bytes: 0,
    keys: 0,
    until: null,
    legal_holds: 0,
    not_locked: 0,
    others: 0,
    named: [],
  };
}

async function readLock(
  history: ObjectVersions,
  trace: StoredVersion,
  context: Context,
): Promise<LockedObject> {
  const { untilMs, legalHold } = await history.lockOf(trace, context);
  return {
    key: trace.key,
    version: trace.id,
    size_bytes: trace.sizeBytes,
    until: untilMs === undefined ? null : new Date(untilMs).toISOString(),
    legal_hold: legalHold,
  };
}

function add(report: LockedReport, object: LockedObject): void {
  const { until, legal_hold } = object;
  report.objects++;
  report.bytes += object.size_bytes;
  // ISO 8601 in UTC sorts by time.
  if (until !== null && (report.until === null || until > report.until)) report.until = until;
  if (legal_hold) report.legal_holds++;
  if (until === null && !legal_hold) report.not_locked++;
  if (report.named.length < NAMED_MAX) report.named.push(object);
}
