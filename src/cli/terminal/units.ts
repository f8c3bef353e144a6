/** Sizes and times as people write and read them. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const SIZE = /^(\d+(?:\.\d+)?) ?([KMGTP]?)(?:iB|B)?$/i;

/** Bytes of `4M`, `4MiB`, `4 mb` (all the same: powers of 1024) or `4194304`; `undefined` for anything else. */
export function parseSize(text: string): number | undefined {
  const match = SIZE.exec(text.trim());
  if (match === null) return undefined;
  const power = match[2] === "" ? 0 : " KMGTP".indexOf(match[2]!.toUpperCase());
  const bytes = Number(match[1]) * 1024 ** power;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Milliseconds of `12h`, `30d`, `8w` or `1y` (365 days); `undefined` for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,5})([hdwy])$/.exec(text);
  if (match === null) return undefined;
  const hours = { h: 1, d: 24, w: 7 * 24, y: 365 * 24 }[match[2] as "h" | "d" | "w" | "y"];
  return Number(match[1]) * hours * 3600_000;
}

/** Milliseconds of `90s`, `15m` or `2h`; `undefined` for anything else. */
export function parseWait(text: string): number | undefined {
  const match = /^(\d{1,6})([smh])$/.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * { s: 1000, m: 60_000, h: 3600_000 }[match[2] as "s" | "m" | "h"];
}

/** `1.5 GiB`: three digits at most before the unit grows. */
export function formatSize(bytes: number): string {
  let power = 0;
  while (bytes >= 1000 * 1024 ** power && power < UNITS.length - 1) power++;
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${UNITS[power]}`;
}

/** `0:07`, `12:30`, `3:00:00`. */
export function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
