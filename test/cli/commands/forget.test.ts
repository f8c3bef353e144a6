/** How the options of `varve forget` reach the rules; what these do is tested without a command line. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { ForgetRow } from "../../../src/engine/retention/forget_plan.ts";
import { varve } from "../../kit/varve_from_source.ts";

/** For a busy machine. */
const LIMIT_MS = 60_000;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "varve-forget-"));
const env = {
  VARVE_REPO: path.join(folder, "repository"),
  XDG_CACHE_HOME: path.join(folder, "cache"),
  XDG_STATE_HOME: path.join(folder, "state"),
};

beforeAll(() => {
  varve(["init", "acme", "--no-encryption"], { env });
  for (const tag of ["first", "second"]) {
    const args = ["backup", "acme/vm", "--format", "raw", "--tag", tag];
    expect(varve(args, { env, input: Buffer.from(tag) }).code).toBe(0);
  }
}, LIMIT_MS);
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** The rules that keep the older and the newer point. */
function rules(...args: string[]): string[][] {
  const { stdout, stderr } = varve(["forget", "acme/vm", ...args, "--dry-run", "--json"], { env });
  expect(stderr).toBe("");
  return (JSON.parse(stdout) as ForgetRow[]).map(({ rules }) => rules);
}

test.each(["last", "hourly", "daily", "weekly", "monthly", "yearly"])("--keep-%s is that rule", (rule) => {
  expect(rules(`--keep-${rule}`, "1").at(-1)).toEqual([rule]);
}, LIMIT_MS);

test("--keep-tag may be repeated, and --keep-within has a unit", () => {
  const tags = ["--keep-tag", "first", "--keep-tag", "second"];
  expect(rules("--keep-within", "1h", ...tags)).toEqual([["within", "tag"], ["within", "tag"]]);
  expect(rules("--keep-within", "0h", "--keep-tag", "first")).toEqual([["tag"], ["within"]]);
}, LIMIT_MS);

test("--time-zone is checked", () => {
  const args = ["forget", "acme/vm", "--keep-daily", "1", "--time-zone", "Mars/Olympus", "--dry-run"];
  const { code, stderr } = varve(args, { env });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^varve: Cannot use the time zone "Mars\/Olympus": expected [^\n]+\n$/);
}, LIMIT_MS);
