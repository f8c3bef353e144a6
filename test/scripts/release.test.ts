/** scripts/release in a checkout of its own, whose scripts/build-all only writes files. */
import { beforeAll, describe, expect, test } from "bun:test";
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../kit/scratch.ts";

const ROOT = join(import.meta.dirname, "../..");
const RELEASE = join(import.meta.dirname, "../../scripts/release");
const CHANGELOG = join(import.meta.dirname, "../../scripts/changelog.ts");
const LIMIT_MS = 60_000;
const BUILD = '#!/bin/sh\nmkdir -p "$1" && echo native >"$1/varve" && echo arm >"$1/varve-linux-arm64"\n';

describe("scripts/release", () => {
  const folder = scratchFolder();
  const read = (name: string) => fs.readFileSync(join(folder, name), "utf8");
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", folder, ...args], { encoding: "utf8" }).trim();
  const release = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(join(folder, "scripts/release"), args, { encoding: "utf8" });
    return { status, stdout, stderr };
  };

  beforeAll(() => {
    for (const path of ["scripts", "changelog/unreleased"]) {
      fs.mkdirSync(join(folder, path), { recursive: true });
    }
    fs.copyFileSync(RELEASE, join(folder, "scripts/release"));
    fs.copyFileSync(CHANGELOG, join(folder, "scripts/changelog.ts"));
    fs.writeFileSync(join(folder, "scripts/build-all"), BUILD, { mode: 0o755 });
    fs.writeFileSync(join(folder, ".gitignore"), "dist/\nnode_modules\n");
    fs.writeFileSync(join(folder, "package.json"), '{\n  "name": "varve",\n  "version": "0.1.0"\n}\n');
    fs.writeFileSync(join(folder, "CHANGELOG.md"), "# Changelog\n\n## 0.1.0, 2026-01-01\n\n- The first.\n");
    fs.writeFileSync(
      join(folder, "changelog/unreleased/trace.md"),
      "Enhancement: Log requests\n\nEach has a line.\n",
    );
    fs.symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    git("init", "--quiet");
    git("config", "user.name", "t");
    git("config", "user.email", "t@example.com");
    git("add", "--all");
    git("commit", "--quiet", "--message", "begin");
  }, LIMIT_MS);

  test.each([[[]], [["1"]], [["v1.2.3"]], [["--push", "1.2.3"]]])("refuses the words %p", (args) => {
    expect(release(...args)).toMatchObject({ status: 1, stdout: "" });
  });

  test("shows the new section with --dry-run, and changes nothing", () => {
    const { status, stdout } = release("--dry-run", "0.2.0");
    expect({ status, hasTitle: stdout.includes("- **Log requests.** Each has a line.\n") }).toEqual({
      status: 0,
      hasTitle: true,
    });
    expect(stdout).not.toContain("The first");
    expect(git("status", "--porcelain")).toBe("");
    expect(fs.existsSync(join(folder, "dist"))).toBe(false);
  });

  test("refuses a working tree with changes", () => {
    fs.writeFileSync(join(folder, "new"), "x");
    expect(release("0.2.0")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("the working tree has changes"),
    });
    fs.rmSync(join(folder, "new"));
  });

  test("writes changelog, version, files and their sums, and commits nothing", () => {
    expect(release("0.2.0")).toMatchObject({ status: 0, stderr: "" });
    expect(read("CHANGELOG.md")).toMatch(/^# Changelog\n\n## 0\.2\.0, \d{4}-\d\d-\d\d\n\n### Enhancements\n/);
    expect(read("CHANGELOG.md")).toContain("## 0.1.0, 2026-01-01\n\n- The first.\n");
    expect(fs.existsSync(join(folder, "changelog/unreleased/trace.md"))).toBe(false);
    expect(JSON.parse(read("package.json"))).toMatchObject({ version: "0.2.0" });
    const dist = join(folder, "dist/0.2.0");
    expect(fs.readdirSync(dist).toSorted()).toEqual(["SHA256SUMS", "varve", "varve-linux-arm64"]);
    execFileSync("sha256sum", ["--check", "--quiet", "SHA256SUMS"], { cwd: dist });
    expect([git("log", "--oneline").split("\n").length, git("tag")]).toEqual([1, ""]);
  }, LIMIT_MS);
});
