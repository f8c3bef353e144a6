/** Backup ids: `20261121T213259123Z-1a2b3c4d`, a UTC time to the millisecond and 32 random bits; they sort by time. */
import { toHex } from "./bytes.ts";

const PATTERN = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})(\d{3})Z-[0-9a-f]{8}$/;

/** The id of a backup taken at `timeMs` (since 1970); `random` are 4 bytes. */
export function backupId(timeMs: number, random: Uint8Array): string {
  const time = new Date(timeMs).toISOString().replace(/[-:.]/g, "");
  return `${time}-${toHex(random.subarray(0, 4))}`;
}

export function isBackupId(text: string): boolean {
  return PATTERN.test(text);
}

/** Milliseconds since 1970 that the id was made from; `undefined` if it is not an id. */
export function backupTimeMs(id: string): number | undefined {
  const m = PATTERN.exec(id);
  if (m === null) return undefined;
  const [, year, month, day, hour, minute, second, ms] = m.map(Number) as number[];
  return Date.UTC(year!, month! - 1, day!, hour!, minute!, second!, ms!);
}
