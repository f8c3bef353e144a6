/** Keeps this process's memory, which holds keys and passphrases, out of files and out of other processes' sight. */
import { openLibc } from "./libc.ts";

/** prctl(2). */
const PR_SET_DUMPABLE = 4;

/**
 * No core dump is written or piped anywhere, and no other process of this user, such as the child of `--exec`, reads memory
 * or environment through `/proc` or ptrace(2). Children are not bound by it: running a program undoes it.
 */
export function forbidDumps(): void {
  const libc = openLibc({ prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" } });
  libc?.prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n);
}
