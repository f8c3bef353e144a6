/**
 * Parts that not every machine has (MinIO, Ceph, …). A test that needs one is skipped where it is missing, and the
 * reason is in its name; with `CI=true` scripts/test counts a skip as a failure.
 */
import { describe } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The folder, outside the checkout, that scripts/install-test-tools fills. */
export const TEST_CACHE = process.env.VARVE_TEST_CACHE ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "varve-test");

/** What tells that a part is there: a program, or the path of a file. */
const PARTS = {
  "MinIO": [join(TEST_CACHE, "bin/minio")],
  "Ceph": ["ceph-mon", "ceph-osd", "ceph", "rbd"],
  "radosgw": ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin"],
  "qemu-img": ["qemu-img"],
  "qemu-nbd": ["qemu-nbd"],
  "qemu-user": ["qemu-aarch64-static", "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1"],
  "strace": ["strace"],
  "mkfs.ext4": ["mkfs.ext4"],
  "zstd": ["zstd"],
  "expect": ["expect"],
  "root": [],
} satisfies Record<string, string[]>;

export type Part = keyof typeof PARTS;

/** Why `part` cannot be used here; `undefined` where it can. */
export function missingPart(part: Part): string | undefined {
  if (part === "root") return process.getuid?.() === 0 ? undefined : "the tests do not run as root";
  const absent = PARTS[part].find((need) =>
    need.startsWith("/") ? !existsSync(need) : Bun.which(need) === null
  );
  return absent === undefined ? undefined : recordedReason(part) ?? `${absent} is not installed`;
}

/** `describe`, or its skipping form with the reason in the name where one of `parts` is missing. */
export function describeWith(parts: readonly Part[], name: string, body: () => void): void {
  const reasons = parts.flatMap((part) => missingPart(part) ?? []);
  if (reasons.length === 0) describe(name, body);
  else describe.skip(`${name} (skipped: ${reasons.join("; ")})`, body);
}

/** scripts/install-test-tools writes one line, `part: reason`, for what it could not get. */
function recordedReason(part: Part): string | undefined {
  const path = join(TEST_CACHE, "skipped");
  if (!existsSync(path)) return undefined;
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.find((line) => line.startsWith(`${part}: `))?.slice(part.length + 2);
}
