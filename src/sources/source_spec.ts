/** Which source a command line names. */
import { isRbdSpec, parseRbdSpec, type RbdSpec } from "../rbd/spec.ts";

/**
 * `path`: "-" is standard input. `command`: a program, found by PATH, and its arguments; its output is the stream. `image`: of
 * a Ceph cluster; `isFull`: the whole image even where what changed since a backup would do.
 */
export type SourceSpec = { path: string } | { command: readonly string[] } | {
  image: RbdSpec;
  isFull?: boolean | undefined;
};

/** The source that a word of the command line names. Throws `UsageError`. */
export function sourceOf(word: string): SourceSpec {
  return isRbdSpec(word) ? { image: parseRbdSpec(word) } : { path: word };
}
