/** Files of changelog/unreleased become the newest section of CHANGELOG.md. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type Entry, fold, parseEntry, sectionOf } from "../../scripts/changelog.ts";

const ROOT = join(import.meta.dirname, "../..");
const FIX: Entry = { kind: "Bugfix", title: "Name the proxy", text: "It was named wrongly.\nIt is not now." };
const NEW: Entry = { kind: "Enhancement", title: "Log requests", text: "" };
const OLD = "# Changelog\n\n## 1.0.0, 2026-01-01\n\n- The first.\n";

describe("parseEntry()", () => {
  test("reads kind, title and text", () => {
    expect(parseEntry("f", "Bugfix: Name the proxy\n\nIt was named wrongly.\nIt is not now.\n")).toEqual(FIX);
    expect(parseEntry("f", "Enhancement: Log requests\n")).toEqual(NEW);
  });

  test.each([
    "",
    "Log requests\n",
    "Feature: Log requests\n",
    "Bugfix: With a full stop.\n",
    "Bugfix: a\nno blank line\n",
  ])(
    "refuses %p",
    (content) => expect(() => parseEntry("f", content)).toThrow('Cannot read "f"'),
  );

  test("takes every file of changelog/unreleased", async () => {
    for (const file of new Bun.Glob("changelog/unreleased/*.md").scanSync(ROOT)) {
      parseEntry(file, await Bun.file(join(ROOT, file)).text());
    }
  });
});

test("sectionOf() orders entries by kind", () => {
  expect(sectionOf([NEW, FIX])).toBe(
    "### Fixes\n\n- **Name the proxy.** It was named wrongly.\n  It is not now.\n\n" +
      "### Enhancements\n\n- **Log requests.**",
  );
});

describe("fold()", () => {
  const release = { version: "1.1.0", date: "2026-11-29", entries: [NEW] };

  test("puts the version above those before", () => {
    expect(fold(OLD, release)).toBe(
      "# Changelog\n\n## 1.1.0, 2026-11-29\n\n### Enhancements\n\n- **Log requests.**\n\n## 1.0.0, 2026-01-01\n\n- The first.\n",
    );
  });

  test("keeps what stands under the version while it is not yet released", () => {
    const pending = "# Changelog\n\n## 1.1.0, not yet released\n\n- An old line.\n";
    expect(fold(pending, release)).toBe(
      "# Changelog\n\n## 1.1.0, 2026-11-29\n\n### Enhancements\n\n- **Log requests.**\n\n- An old line.\n",
    );
    expect(fold(pending, { ...release, entries: [] })).toContain("2026-11-29\n\n- An old line.\n");
  });

  test("refuses a version that was released, and one without a change", () => {
    expect(() => fold(OLD, { ...release, version: "1.0.0" })).toThrow("has it already");
    expect(() => fold(OLD, { ...release, entries: [] })).toThrow("nothing is in changelog/unreleased");
  });
});
