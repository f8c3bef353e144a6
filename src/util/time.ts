/** Times and durations as people write and read them: one rule wherever a time is typed. docs/operating.md, "Times". */

const UNIT_MS = { s: 1000, m: 60_000, h: 3600_000, d: 86_400_000, w: 7 * 86_400_000, y: 365 * 86_400_000 };
const DURATION = /^(\d{1,6})([smhdwy])$/;
/** Without `m`, which may be read as minutes or months. */
const AGO = /^(\d{1,6}) ?(min|h|d|w)(?:inutes?|ours?|ays?|eeks?|s)? ago$/;
const AGO_UNITS = { min: "m", h: "h", d: "d", w: "w" } as const;
const TIME = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,3})?)?(Z|[+-]\d{2}(?::?\d{2})?)?)?$/;
/** What is left out of a time that has hours and minutes, or of its seconds. */
const END_OF_DAY = "23:59", END_OF_MINUTE = ":59", END_OF_SECOND = ".999";

/** Milliseconds of `30d`, in one of the `units` (`s`, `m`inutes, `h`, `d`, `w`, `y` of 365 days); `undefined` for anything else. */
export function parseDuration(text: string, units: string): number | undefined {
  const [, count, unit = ""] = DURATION.exec(text) ?? [];
  return units.includes(unit) && unit !== ""
    ? Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS]
    : undefined;
}

/**
 * The last moment that `text` means, in milliseconds since 1970: `2026-11-28` is the end of that day, `2026-11-28 16:30` the
 * end of that minute. Local unless a zone follows (`Z`, `+01:00`). Also `now`, `today`, `yesterday`, `yesterday 16:30`,
 * `16:30` and `2h ago`. `undefined` for what is no time, `NaN` for a date that does not exist.
 */
export function parseTime(text: string, nowMs: number): number | undefined {
  if (text === "now") return nowMs;
  const [, count, unit] = AGO.exec(text) ?? [];
  if (unit !== undefined) return nowMs - Number(count) * UNIT_MS[AGO_UNITS[unit as keyof typeof AGO_UNITS]];
  const match = TIME.exec(withDate(text, new Date(nowMs)));
  if (match === null) return undefined;
  const [, day, minute = END_OF_DAY, second = END_OF_MINUTE, zone] = match;
  const moment = `${day}T${minute}${second}${second.includes(".") ? "" : END_OF_SECOND}`;
  // As if in UTC, to see whether there is such a day: `Date` may take the 30th of February for the 2nd of March.
  const utcMs = Date.parse(`${moment}Z`);
  if (Number.isNaN(utcMs) || !new Date(utcMs).toISOString().startsWith(`${day}T`)) return NaN;
  return zone === undefined ? Date.parse(moment) : utcMs - offsetMs(zone);
}

/** `yesterday 16:30` and `16:30` with the date that is meant. */
function withDate(text: string, now: Date): string {
  const before = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  return text.replace(/^today\b/, localDay(now)).replace(/^yesterday\b/, localDay(before))
    .replace(/^(?=\d{2}:)/, `${localDay(now)} `);
}

function offsetMs(zone: string): number {
  const [, sign, hours, minutes = "0"] = /^([+-])(\d{2}):?(\d{2})?$/.exec(zone) ?? [];
  const ms = Number(hours ?? 0) * UNIT_MS.h + Number(minutes) * UNIT_MS.m;
  return sign === "-" ? -ms : ms;
}

/** `2026-11-28 16:30+01`, local and with its zone; `parseTime()` reads it. */
export function formatTime(ms: number, to: "minute" | "second" = "minute"): string {
  const date = new Date(ms);
  const clock = [date.getHours(), date.getMinutes(), ...(to === "second" ? [date.getSeconds()] : [])];
  return `${localDay(date)} ${clock.map(two).join(":")}${zoneOf(date)}`;
}

/** `2026-11-28`. */
function localDay(date: Date): string {
  const year = String(date.getFullYear()).padStart(4, "0");
  return `${year}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

function zoneOf(date: Date): string {
  const east = -date.getTimezoneOffset();
  if (east === 0) return "Z";
  const [hours, minutes] = [Math.floor(Math.abs(east) / 60), Math.abs(east) % 60];
  return `${east < 0 ? "-" : "+"}${two(hours)}${minutes === 0 ? "" : `:${two(minutes)}`}`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
