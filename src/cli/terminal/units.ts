/** Sizes, durations and ages as people write and read them; times are in `util/time.ts`. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const MINUTE_S = 60, HOUR_S = 3600, DAY_S = 24 * HOUR_S;
/** Seconds, letter, and the age from which an age is shown in it. */
const AGE_UNITS: [[number, string, number], ...[number, string, number][]] = [
  [1, "s", 0],
  [MINUTE_S, "m", MINUTE_S],
  [HOUR_S, "h", HOUR_S],
  [DAY_S, "d", 2 * DAY_S],
  [7 * DAY_S, "w", 100 * DAY_S],
  [365 * DAY_S, "y", 2 * 365 * DAY_S],
];
/** By how much the clocks of store and host may differ without a word. */
const CLOCK_SLACK_S = 60;
const SIZE = /^(\d+(?:\.\d+)?) ?([KMGTP]?)(?:iB|B)?$/i;

/** Bytes of `4M`, `4MiB`, `4 mb` (all the same: powers of 1024) or `4194304`; `undefined` for anything else. */
export function parseSize(text: string): number | undefined {
  const match = SIZE.exec(text.trim());
  if (match === null) return undefined;
  const power = match[2] === "" ? 0 : " KMGTP".indexOf(match[2]!.toUpperCase());
  const bytes = Number(match[1]) * 1024 ** power;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
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

/** `45s`, `12m`, `3h`, `12d`, `30w`, `3y`: how long ago. Of what lies ahead, `future`. */
export function formatAge(seconds: number): string {
  if (seconds < -CLOCK_SLACK_S) return "future";
  const [size, unit] = AGE_UNITS.findLast(([, , from]) => seconds >= from) ?? AGE_UNITS[0];
  return `${Math.floor(Math.max(0, seconds) / size)}${unit}`;
}
