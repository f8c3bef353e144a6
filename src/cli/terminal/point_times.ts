/** The times of a volume's points as a column: as short as they can be and yet tell the points apart. */
import { formatTime } from "../../util/time.ts";

const PRECISIONS = ["minute", "second"] as const;

/**
 * Shows an ISO time to the minute, if no other of `times` is in that minute; else to the second; `undefined` where two have
 * the same second.
 */
export function distinctTimes(times: readonly string[]): (time: string) => string | undefined {
  const forms = (time: string) => PRECISIONS.map((precision) => formatTime(Date.parse(time), precision));
  const counts = new Map<string, number>();
  for (const form of times.flatMap(forms)) counts.set(form, (counts.get(form) ?? 0) + 1);
  return (time) => forms(time).find((form) => counts.get(form) === 1);
}
