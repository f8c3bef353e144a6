/** What a file uses: by imports, by dynamic ones, and by paths in its text; not by types alone, nor in comments. */
import { beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { ImportGraph } from "../kit/import_graph.ts";
import { scratchFolder } from "../kit/scratch.ts";

const root = scratchFolder();
const FILES = {
  "src/a.ts": 'import { b } from "./b.ts";\nimport type { T } from "./types.ts";\nexport const a: T = b;\n',
  "src/b.ts": 'export const b = 1; // like "./a.ts"\nexport const c = () => import("../lib/c.ts");\n',
  "src/types.ts": "export type T = number;\n",
  "lib/c.ts": 'export const worker = new URL("./worker.ts", import.meta.url);\n',
  "lib/worker.ts": 'import { a } from "../src/a.ts";\nconsole.log(a);\n',
  "test/kit/run.ts":
    'import { join } from "node:path";\nexport const run = join(import.meta.dirname, "../../scripts/run");\n' +
    "export const main = `${import.meta.dirname}/../../lib/c.ts`;\n" +
    'export const root = join(import.meta.dirname, "../..");\n' +
    'export const data = join(import.meta.dirname, "../data");\nexport const none = "../none.ts";\n',
  "scripts/run": 'echo "../src/a.ts"\n',
  "test/data/x.json": "{}\n",
};
let graph: ImportGraph;
beforeAll(() => {
  for (const [name, text] of Object.entries(FILES)) {
    fs.mkdirSync(dirname(join(root, name)), { recursive: true });
    fs.writeFileSync(join(root, name), text);
  }
  graph = new ImportGraph(root);
});

test("usedBy() has what a file imports, now or later, but for types", () => {
  expect(graph.usedBy("src/a.ts")).toEqual(["src/b.ts"]);
  expect(graph.usedBy("src/b.ts")).toEqual(["lib/c.ts"]);
});

test("usedBy() has the files and folders that a path in the text leads to, but not the folders around the file", () => {
  expect(graph.usedBy("lib/c.ts")).toEqual(["lib/worker.ts"]);
  expect(graph.usedBy("test/kit/run.ts").toSorted()).toEqual(["lib/c.ts", "scripts/run", "test/data"]);
  expect(graph.usedBy("scripts/run")).toEqual([]);
});

test("reachedFrom() goes on from file to file, round circles too", () => {
  const circle = ["lib/c.ts", "lib/worker.ts", "src/a.ts", "src/b.ts"];
  for (const file of circle) expect([...graph.reachedFrom(file)].toSorted()).toEqual(circle);
  expect([...graph.reachedFrom("test/kit/run.ts")].toSorted()).toEqual(
    [...circle, "scripts/run", "test/data", "test/kit/run.ts"].toSorted(),
  );
});
