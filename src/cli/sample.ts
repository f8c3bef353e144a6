/** How an option says a share: `5%`, or `1/7`. */
import { InvalidArgumentError } from "@commander-js/extra-typings";

/** Above 0, up to 1. `parts` where it was given as one of so many parts. */
export interface Share {
  share: number;
  parts?: number | undefined;
}

export function readShare(text: string): Share {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text);
  if (percent !== null && Number(percent[1]) > 0 && Number(percent[1]) <= 100) {
    return { share: Number(percent[1]) / 100 };
  }
  const parts = Number(/^1\/(\d{1,4})$/.exec(text)?.[1] ?? 0);
  if (parts > 0) return { share: 1 / parts, parts };
  throw new InvalidArgumentError("Expected a share such as 5% or 1/7.");
}
