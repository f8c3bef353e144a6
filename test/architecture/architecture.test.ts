/** The source tree keeps its plan: docs/architecture.md, "Where things are". Each rule is shown to fail on a small tree of its own. */
import { describe, expect, test } from "bun:test";
import * as rules from "./rules.ts";
import { readPaths, readTexts, type Texts } from "./source_tree.ts";

const FOLDERS = ["src", "workers", "test", "bench", "scripts", "docs", "*.md"];

describe("the source tree", () => {
  const all = readTexts(FOLDERS);
  const isOwn = (file: string) => !/^test\/(?:fixtures|architecture)\//.test(file);
  const texts = new Map([...all].filter(([file]) => isOwn(file)));

  test("is large enough to be the real one", () => {
    expect(texts.size).toBeGreaterThan(400);
  });

  test.each([
    ["imports point to lower ranks only", rules.ranks],
    ["no import passes a folder's door", rules.doors],
    ["no files import each other in a circle", rules.circles],
    ["every export is imported somewhere", () => rules.unusedExports(all)],
    ["no file is too long", rules.longFiles],
    ["every heading that is named is there", rules.headings],
    ["every path that is named is there", (texts: Texts) => rules.paths(texts, readPaths())],
  ])("%s", (_, rule) => {
    expect(rule(texts)).toEqual([]);
  });
});

describe("a rule", () => {
  const tree = (files: Record<string, string>): Texts => new Map(Object.entries(files));

  test("finds an import that runs up", () => {
    const texts = tree({ "src/util/a.ts": 'import { b } from "../project/b.ts";', "src/project/b.ts": "" });
    expect(rules.ranks(texts)).toEqual(["src/util/a.ts imports src/project/b.ts, which is above it"]);
  });

  test("finds an arrow between use cases, of types and of what is loaded later, too", () => {
    const type = tree({
      "src/engine/gc/a.ts": 'import type { B } from "../copy/b.ts";',
      "src/engine/copy/b.ts": "",
    });
    expect(rules.ranks(type)).toEqual([
      "src/engine/gc/a.ts imports src/engine/copy/b.ts, which is beside it",
    ]);
    const later = tree({
      "src/engine/gc/a.ts": 'const b = await import("../copy/b.ts");',
      "src/engine/copy/b.ts": "",
    });
    expect(rules.ranks(later)).toHaveLength(1);
  });

  test("finds a folder that has no rank", () => {
    const texts = tree({ "src/new/a.ts": 'import { b } from "../util/b.ts";', "src/util/b.ts": "" });
    expect(rules.ranks(texts)).toEqual(["src/new/a.ts is in no folder that has a rank"]);
  });

  test("lets an import run down", () => {
    const texts = tree({ "src/project/b.ts": 'import { a } from "../util/a.ts";', "src/util/a.ts": "" });
    expect(rules.ranks(texts)).toEqual([]);
  });

  test("finds an import past a door", () => {
    const texts = tree({
      "src/cli/root.ts": 'import { S3 } from "../store/s3/s3.ts";',
      "src/store/s3/s3.ts": "",
    });
    expect(rules.doors(texts)).toEqual([
      "src/cli/root.ts imports src/store/s3/s3.ts, which only src/store/open.ts knows",
    ]);
  });

  test("finds a circle, however long", () => {
    const texts = tree({
      "src/os/a.ts": 'import { b } from "./b.ts";',
      "src/os/b.ts": 'import { c } from "./c.ts";',
      "src/os/c.ts": 'import type { A } from "./a.ts";',
    });
    expect(rules.circles(texts)).toEqual(["src/os/a.ts -> src/os/b.ts -> src/os/c.ts -> src/os/a.ts"]);
  });

  test("finds an export that nobody imports", () => {
    const texts = tree({
      "src/os/a.ts": "export function used() {}\nexport const unused = 1;\nexport interface Used {}",
      "src/os/b.ts": 'import { type Used, used as other } from "./a.ts";',
    });
    expect(rules.unusedExports(texts)).toEqual(["src/os/a.ts exports unused to nobody"]);
  });

  test("finds a long file", () => {
    expect(rules.longFiles(tree({ "src/os/a.ts": "\n".repeat(400) + "x" }))).toHaveLength(1);
  });

  test("finds a heading that is not there, in comments and links", () => {
    const page = { "docs/gc.md": "# Gc\n\n## What a backup does\n" };
    const named = tree({ ...page, "src/os/a.ts": '/** See docs/gc.md, "What a\n * restore does". */' });
    expect(rules.headings(named)).toEqual([
      'src/os/a.ts names "What a restore does" of docs/gc.md, which has no such heading',
    ]);
    const linked = tree({ ...page, "README.md": "[a](docs/gc.md#what-a-backup-does) [b](docs/gc.md#what)" });
    expect(rules.headings(linked)).toEqual([
      'README.md names "#what" of docs/gc.md, which has no such heading',
    ]);
  });

  test("finds a path that is not there, in comments, pages and links", () => {
    const there = new Set(["src", "src/os", "src/os/a.ts", "docs/gc.md"]);
    const texts = tree({
      "src/os/a.ts": "// see src/os/gone.ts and src/os/a.ts\n",
      "docs/gc.md": "`os/a.ts` and `os/gone.ts`, [link](gone.md), `src/os/`",
    });
    expect(rules.paths(texts, there)).toEqual([
      "src/os/a.ts names src/os/gone.ts, which is not there",
      "docs/gc.md names os/gone.ts, which is not there",
      "docs/gc.md names docs/gone.md, which is not there",
    ]);
  });
});
