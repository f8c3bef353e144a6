/** Backup ids: `20261121T213259123Z-1a2b3c4d`, a UTC time to the millisecond and 32 random bits; they sort by time. */
import { toHex } from "../util/bytes.ts";

const PATTERN = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})(\d{3})Z-[0-9a-f]{8}$/;

/**
 * The id of a backup taken at `timeMs` (since 1970); `random` are 4 bytes. Throws `RangeError` for a time that no id can
 * hold: the year has four digits.
 */
export function backupId(timeMs: number, random: Uint8Array): string {
  const id = `${timePart(timeMs)}-${toHex(random.subarray(0, 4))}`;
  if (isBackupId(id)) return id;
  throw new RangeError(`a backup cannot have the time ${new Date(timeMs).toISOString()}`);
}

function timePart(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/[-:.]/g, "");
}

/** Its random end, which nearly always tells it from the volume's others. */
export function shortId(id: string): string {
  return id.slice(id.lastIndexOf("-") + 1);
}

export function isBackupId(text: string): boolean {
  return backupTimeMs(text) !== undefined;
}

/** Milliseconds since 1970 that the id was made from; `undefined` if it is not an id, or no such time exists. */
export function backupTimeMs(id: string): number | undefined {
  const m = PATTERN.exec(id);
  if (m === null) return undefined;
  const [, year, month, day, hour, minute, second, ms] = m.map(Number) as number[];
  // Of years below 100 `Date.UTC` makes others; a thirteenth month it takes for the first of the next year.
  const timeMs = new Date(0).setUTCFullYear(year!, month! - 1, day!) +
    Date.UTC(1970, 0, 1, hour!, minute!, second!, ms!);
  return id.startsWith(`${timePart(timeMs)}-`) ? timeMs : undefined;
}
