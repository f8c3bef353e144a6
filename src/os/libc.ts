/**
 * The C library, for the few system calls that the runtime has no function for. Where it cannot be loaded its callers do
 * without: they are slower, or say what they cannot do.
 */
import { dlopen, type FFIFunction } from "bun:ffi";

/** glibc's name; what musl answers to; musl's file on each processor, where there is no development package. */
const NAMES = ["libc.so.6", "libc.so", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

/** The functions of the C library, `undefined` where it or one of them is not to be had. */
export function openLibc<T extends Record<string, FFIFunction>>(functions: T) {
  for (const name of NAMES) {
    try {
      return dlopen(name, functions).symbols;
    } catch {
      // The next name.
    }
  }
  return undefined;
}

/** `open`, once it is needed and only once. */
export function lazily<T>(open: () => T): () => T {
  let opened: { value: T } | undefined;
  return () => (opened ??= { value: open() }).value;
}
