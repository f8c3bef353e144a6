/** The table of `varve list`: 80 columns, each volume under its name. */
import type { BackupInfo } from "../../project/catalog.ts";
import { shortId } from "../../format/backup_id.ts";
import { snapshotFromJson, snapshotText } from "../../format/snapshot_name.ts";
import { formatTime } from "../../util/time.ts";
import { tableLines } from "../terminal/output.ts";
import { distinctTimes } from "../terminal/point_times.ts";
import { formatAge, formatSize } from "../terminal/units.ts";

const HEADING = ["TIME", "ID", "KIND", "ADDED", "AGE", "SIZE", "NOTES"];
/** Columns of figures. */
const RIGHT = [3, 4, 5];
const INDENT = "  ";
/** Snapshots that varve made itself say nothing that time and id do not. */
const OWN_SNAPSHOT = /^varve-/;

const ENCRYPTION = {
  "none": "not encrypted",
  "passphrase": "encrypted with a passphrase",
  "key-file": "encrypted with a key file",
};

/** Its lines, the heading first; none for no backups. `nowMs` is what ages count to. */
export function listLines(backups: readonly BackupInfo[], nowMs: number): string[] {
  const volumes = [...Map.groupBy(backups, ({ project, volume }) => `${project}/${volume}`)];
  const rows = volumes.flatMap(([, points]) => {
    const timeOf = distinctTimes(points.map(({ time }) => time));
    return points.map((point) => row(point, { time: timeOf(point.time), nowMs }));
  });
  const [heading, ...lines] = tableLines(HEADING, rows, RIGHT).map((line) => INDENT + line);
  if (heading === undefined) return [];
  const table = volumes.flatMap(([name, points]) => {
    return [`${name}, ${ENCRYPTION[points[0]!.encryption]}`, ...lines.splice(0, points.length)];
  });
  return [heading, ...table];
}

function row(point: BackupInfo, { time, nowMs }: { time: string | undefined; nowMs: number }): string[] {
  const timeMs = Date.parse(point.time);
  return [
    time ?? formatTime(timeMs, "second"),
    shortId(point.backup),
    point.base === null ? "full" : "incr",
    `+${formatSize(point.uploaded_bytes)}`,
    formatAge((nowMs - timeMs) / 1000),
    formatSize(point.size_bytes),
    notes(point).join(" "),
  ];
}

/** Whether it is held, of which snapshot it is, and its tags. */
function notes({ held, to_snapshot, tags }: BackupInfo): string[] {
  const name = snapshotFromJson(to_snapshot);
  const snapshot = name === undefined ? "" : snapshotText(name);
  return [
    ...held ? ["HELD"] : [],
    ...snapshot === "" || OWN_SNAPSHOT.test(snapshot) ? [] : [snapshot],
    ...tags.length === 0 ? [] : [tags.join(",")],
  ];
}
