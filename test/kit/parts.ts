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

const ROOT = "root";
const needsOfPart = new Map([[ROOT, []], ...readParts()]);

/** Why `part`, a name in scripts/test-parts or `root`, cannot be used here; `undefined` where it can. */
export function missingPart(part: string): string | undefined {
  const needs = needsOfPart.get(part);
  if (needs === undefined) throw new Error(`Cannot look for part "${part}": it is not in scripts/test-parts`);
  if (part === ROOT) return process.getuid?.() === 0 ? undefined : "the tests do not run as root";
  const absent = needs.find((need) => need.startsWith("/") ? !existsSync(need) : Bun.which(need) === null);
  return absent === undefined ? undefined : recordedReason(part) ?? `${absent} is not installed`;
}

/** `describe`, or its skipping form with the reason in the name where one of `parts` is missing. */
export function describeWith(parts: readonly string[], name: string, body: () => void): void {
  const reasons = parts.flatMap((part) => missingPart(part) ?? []);
  if (reasons.length === 0) describe(name, body);
  else describe.skip(`${name} (skipped: ${reasons.join("; ")})`, body);
}

/** scripts/install-test-tools writes one line, `part: reason`, for what it could not get. */
function recordedReason(part: string): string | undefined {
  const path = join(TEST_CACHE, "skipped");
  if (!existsSync(path)) return undefined;
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.find((line) => line.startsWith(`${part}: `))?.slice(part.length + 2);
}

function readParts(): [string, string[]][] {
  const lines = readFileSync(join(import.meta.dirname, "../../scripts/test-parts"), "utf8").trim().split(
    "\n",
  );
  return lines.filter((line) => !line.startsWith("#")).map((line) => {
    const [part = "", needs = ""] = line.split("|").map((column) => column.trim());
    return [part, needs.split(/\s+/).map((need) => need.replace(/^cache:/, `${TEST_CACHE}/`))];
  });
}
