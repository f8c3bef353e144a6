/** What lies beside the repository and is nobody's business: a tree in which every change is seen. */
import fs from "node:fs";
import path from "node:path";
import { attempt } from "./victim.ts";

/** Older than anything that varve would keep for its age. */
const OLD_S = Date.UTC(2001, 1, 3) / 1000;
const CONTENT_BYTES_MAX = 1024 * 1024;
const HEX = "0123456789abcdef".repeat(4);

/** Some are called as a repository's own: whoever follows a link to the tree takes them for objects. */
const FILES = [
  "letter.txt",
  "empty",
  "folder/a/b/deep",
  `01/${HEX}`,
  `chunks/01/${HEX}`,
  "20260101T000000000Z-00000000",
  "volumes/db/20260101T000000000Z-00000000",
  "db/20260101T000000000Z-00000001",
  "keys/0123456789abcdef",
  `leases/${HEX.slice(0, 32)}`,
  `gc/${HEX.slice(0, 32)}/head`,
  HEX.slice(0, 32),
  "varve.json",
  "tmp/leftover",
];

/** Where links may lead. The last is not there: whoever writes through a link would make it. */
export const CANARY_PATHS = [
  "",
  "folder",
  "01",
  "chunks",
  "volumes",
  "db",
  "keys",
  "letter.txt",
  "empty",
  "not-there",
];
export const CANARY_FILES: readonly string[] = FILES;

export function makeCanary(root: string): void {
  for (const name of FILES) {
    const file = path.join(root, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, name === "empty" ? "" : `the canary's ${name}\n`);
    fs.utimesSync(file, OLD_S, OLD_S);
  }
}

/**
 * Of everything below `root`, but for what is in the folders `except`: what it is, since when, and what it holds. Links are
 * not followed.
 */
export function lookAt(root: string, except: readonly string[]): Map<string, string> {
  const seen = new Map<string, string>();
  const look = (file: string) => {
    const name = path.relative(root, file);
    const stats = attempt(() => fs.lstatSync(file, { bigint: true }));
    if (except.includes(name) || stats === undefined) return; // or a name that is no text
    if (name !== "") seen.set(name, describe(file, stats));
    if (stats.isDirectory()) { for (const name of fs.readdirSync(file)) look(path.join(file, name)); }
  };
  look(root);
  return seen;
}

/** A second name for a file may be taken away where it lies in the repository: that changes its count and time of change. */
function describe(file: string, stats: fs.BigIntStats): string {
  const { ino, mode, uid, size, mtimeNs, ctimeNs, nlink } = stats;
  const changed = stats.isFile() && nlink > 1n ? "linked" : `${ctimeNs} ${nlink}`;
  return [ino, mode, uid, size, mtimeNs, changed, contentOf(file, stats)].join(" ");
}

/** What was moved out of the repository may be a giant with a hole: of that its times have to tell. */
function contentOf(file: string, stats: fs.BigIntStats): string {
  if (stats.isSymbolicLink()) return fs.readlinkSync(file);
  return stats.isFile() && stats.size <= CONTENT_BYTES_MAX ? fs.readFileSync(file, "hex") : "";
}

/** What is not as it was, a line each. */
export function* differences(before: Map<string, string>, after: Map<string, string>): Generator<string> {
  for (const [name, was] of before) {
    const is = after.get(name);
    if (is === undefined) yield `"${name}" beside the repository is gone`;
    else if (is !== was && !(was.includes(" linked ") && sameButLinks(was, is))) {
      yield `"${name}" beside the repository was changed`;
    }
  }
  for (const name of after.keys()) if (!before.has(name)) yield `"${name}" beside the repository is new`;
}

/** Once its other name is gone it counts as a file of one name. */
function sameButLinks(was: string, is: string): boolean {
  const essence = (text: string) => text.replace(/ (?:linked|\d+ 1) (\S*)$/, " $1");
  return essence(was) === essence(is);
}
