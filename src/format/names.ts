/** Which names projects, volumes and tags may have, and how `PROJECT/VOLUME[@POINT]` is read. */
import { escapeJson, UsageError } from "../errors.ts";
import { isBackupId } from "./backup_id.ts";
import { MAX_NAME_BYTES } from "./limits.ts";

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9_.:+=,~-]*$/;
const ALLOWED = "expected letters, digits and _ . : + = , ~ -, starting with a letter, digit or _";

interface VolumeSpec {
  project: string;
  volume: string;
  /** What follows the `@`, as it was typed; `undefined` without one. */
  point: string | undefined;
}

/** Reads `PROJECT/VOLUME[@POINT]`. Throws `UsageError`. A point may hold anything, `@` and `/` included. */
export function parseVolumeSpec(text: string): VolumeSpec {
  const at = text.indexOf("@");
  const path = at < 0 ? text : text.slice(0, at);
  const slash = path.indexOf("/");
  if (slash < 0) throw new UsageError(`Cannot read ${quote(text)} as a volume: expected PROJECT/VOLUME`);
  const project = path.slice(0, slash);
  const volume = path.slice(slash + 1);
  assertProjectName(project);
  assertVolumeName(volume);
  return { project, volume, point: at < 0 ? undefined : text.slice(at + 1) };
}

/** Throws `UsageError` unless `name` can name a project. */
export function assertProjectName(name: string): void {
  assertLength("project", name);
  if (name.includes("/")) {
    throw new UsageError(
      `Cannot use ${quote(name)} as a project: expected a project without a volume, so no "/"`,
    );
  }
  if (!SEGMENT.test(name)) throw new UsageError(`Cannot use ${quote(name)} as a project: ${ALLOWED}`);
  if (isBackupId(name)) {
    throw new UsageError(`Cannot use ${quote(name)} as a project: it looks like the id of a restore point`);
  }
}

/** Whether `name` can name a project. */
export function isProjectName(name: string): boolean {
  return Buffer.byteLength(name) <= MAX_NAME_BYTES && isSegment(name);
}

/** Throws `UsageError` unless `name` can name a volume: segments as of a project, with `/` between. */
export function assertVolumeName(name: string): void {
  assertLength("volume", name);
  for (const segment of name.split("/")) {
    if (!SEGMENT.test(segment)) {
      throw new UsageError(`Cannot use ${quote(name)} as a volume: ${ALLOWED}, in parts separated by /`);
    }
    if (isBackupId(segment)) {
      throw new UsageError(
        `Cannot use ${quote(name)} as a volume: "${segment}" looks like the id of a restore point`,
      );
    }
  }
}

/** Whether `name` can name a volume. */
export function isVolumeName(name: string): boolean {
  return Buffer.byteLength(name) <= MAX_NAME_BYTES && name.split("/").every(isSegment);
}

function isSegment(text: string): boolean {
  return SEGMENT.test(text) && !isBackupId(text);
}

function assertLength(kind: string, name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0) throw new UsageError(`Cannot use an empty name as a ${kind}`);
  if (bytes > MAX_NAME_BYTES) {
    throw new UsageError(
      `Cannot use ${quote(name)} as a ${kind}: it has ${bytes} bytes, more than ${MAX_NAME_BYTES}`,
    );
  }
}

/** The name as it can be shown in one line: what could steer a terminal escaped, long ones cut. */
export function quote(name: string): string {
  return escapeJson(JSON.stringify(name.length > 80 ? `${name.slice(0, 77)}...` : name));
}
