/**
 * What a point was made from, where names are not enough: another image may have the same name, and a snapshot may be made
 * anew under its old one. docs/format.md, "Manifests".
 */

/** Opaque words, equal only if they mean the same thing. What is not known is left out. */
export interface SourceIds {
  /** Of the image or device. */
  source_id?: string | undefined;
  /** Of the snapshot that was backed up; unique within the source. */
  source_snapshot_id?: string | undefined;
  /** Of the snapshot that the source was a difference to. */
  from_snapshot_id?: string | undefined;
}

export const MAX_SOURCE_ID_CHARS = 200;

/** The same for JSON: `null` where it is not known. */
export type KnownIds = { [name in keyof SourceIds]-?: string | null };

export function knownIds(ids: SourceIds): KnownIds {
  const { source_id = null, source_snapshot_id = null, from_snapshot_id = null } = ids;
  return { source_id, source_snapshot_id, from_snapshot_id };
}

/** Whether `value` can be an id: one word without control characters. */
export function isSourceId(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_SOURCE_ID_CHARS && /^[^\s\p{C}]+$/u.test(value);
}

/** Whether both are known, and are not the same. */
export function idsDiffer(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b;
}

/** Whether both are known, and are the same. */
export function idsMatch(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && a === b;
}
