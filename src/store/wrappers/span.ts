import { counted } from "../../util/counted.ts";

/** How long something lasted, in words: `42 s`, `15 minutes`, `2 hours`. */
export function formatSpan(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120 && seconds % 60 !== 0 || seconds === 0) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120 && minutes % 60 !== 0) return counted(minutes, "minute");
  const [hours, left] = [Math.floor(minutes / 60), minutes % 60];
  const words = counted(hours, "hour");
  return left === 0 ? words : `${words} and ${counted(left, "minute")}`;
}
