/** The message catalogue: what varve says to people changes only where somebody has read the change. */
import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { CATALOGUE_FILE, messageCatalogue, readTexts } from "./kit/messages.ts";

/** The lines that one of two catalogues has and the other has not. */
function changedLines(before: string, after: string): string[] {
  const linesOf = (text: string) => new Set(text.split("\n"));
  const only = (sign: string, lines: Set<string>, others: Set<string>) =>
    [...lines.difference(others)].map((line) => `${sign} ${line}`);
  const [old, now] = [linesOf(before), linesOf(after)];
  return [...only("-", old, now), ...only("+", now, old)];
}

test("the message catalogue is that of the source; scripts/messages writes it anew", () => {
  const [written, now] = [fs.readFileSync(CATALOGUE_FILE, "utf8"), messageCatalogue()];
  expect(changedLines(written, now)).toEqual([]);
  expect(written === now).toBe(true);
});

test("the message catalogue changes when a help text, an error or a log line does", () => {
  const catalogue = messageCatalogue();
  expect(catalogue).toContain("## varve restore --help\n\nUsage: varve restore ");
  const error = 'throw new UsageError(`Cannot read "${path}": it is ${state}`, { cause });';
  expect(readTexts(error)).toEqual(['Cannot read "${…}": it is ${…}']);
  expect(changedLines(catalogue, catalogue.replace("Usage: varve restore ", "Usage: varve retsore ")).length)
    .toBe(2);
});

test("readTexts() gives each text once, in its order, and no comment, type, path or pattern", () => {
  const source = `
    import { join } from "node:path"; // it "is not said"
    /* nor "is this" */
    type Kind = "none" | "some";
    const pattern = /a "b c" d/;
    const half = count / 2; const all = "one text" +
      " in two parts";
    log.warn({}, \`\${name} of \${count === 1 ? "one thing" : \`\${count} things\`} \\\`here\\\`\`);
    const name = 'it\\'s one';
    const key = "varve.json";
  `;
  expect(readTexts(source)).toEqual([
    "one text in two parts",
    "${…} of ${…} `here`",
    "one thing",
    "${…} things",
    "it's one",
  ]);
});
