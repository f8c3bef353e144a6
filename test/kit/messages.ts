/**
 * The message catalogue: every help text, and every text in the source that people may read in an error, a log line or the
 * output, as one document. `scripts/messages` writes it to `test/fixtures/messages.txt`, where a change of words is reviewed.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { createProgram } from "../../src/cli/commands/program.ts";
import { Screen } from "../../src/cli/terminal/screen.ts";

const ROOT = path.join(import.meta.dir, "../..");
const HELP_COLUMNS = 80;

/** The file that holds the reviewed catalogue. */
export const CATALOGUE_FILE = path.join(ROOT, "test/fixtures/messages.txt");

/** The catalogue of the source as it is now. */
export function messageCatalogue(): string {
  const sources = [...new Bun.Glob("src/**/*.ts").scanSync(ROOT)].sort();
  const sections = sources.map((file) => {
    const texts = readTexts(fs.readFileSync(path.join(ROOT, file), "utf8"));
    return texts.length === 0 ? "" : section(file, texts.map((text) => `${text}\n`).join(""));
  });
  return [...helpSections(), ...sections].join("");
}

function section(title: string, text: string): string {
  return `## ${title}\n\n${text}\n`;
}

function helpSections(): string[] {
  const screen = new Screen({ isTerminal: false, columns: () => undefined, write: () => {} });
  const program = createProgram({ env: {}, screen, signal: new AbortController().signal });
  const visible = program.createHelp().visibleCommands(program as never);
  return [program, ...visible].map((command) => {
    let text = "";
    command.configureOutput({
      writeOut: (part) => void (text += part),
      getOutHelpWidth: () => HELP_COLUMNS,
      getOutHasColors: () => false,
    });
    command.outputHelp();
    const name = command === program ? "varve" : `varve ${command.name()}`;
    return section(`${name} --help`, text);
  });
}

/** A string or template of the source: its text, and where it begins and ends. */
interface Literal {
  text: string;
  start: number;
  end: number;
}

/**
 * The texts of `source` that hold at least two words, in their order: strings and templates, with what a template fills in
 * as `${…}`. Texts that `+` joins are one.
 */
export function readTexts(source: string): string[] {
  const joined: Literal[] = [];
  for (const literal of readLiterals(source)) {
    const last = joined.at(-1);
    if (last !== undefined && /^\s*\+\s*$/.test(source.slice(last.end, literal.start))) {
      last.text += literal.text;
      last.end = literal.end;
    } else joined.push(literal);
  }
  return joined.map(({ text }) => text).filter(isProse).map((text) => text.replaceAll("\n", "\\n"));
}

function isProse(text: string): boolean {
  return /[A-Za-z]["'”:;,.)]* |(^|[ }(])[a-z]{2,} ?\$\{|\} [a-z]{2}/.test(text);
}

/** Comments, regular expressions, strings and the ends of templates, as far as they must be told apart. */
function* readLiterals(source: string): Generator<Literal> {
  let at = 0;
  while (at < source.length) {
    const skipped = skipOther(source, at);
    if (skipped > at) at = skipped;
    else if (source[at] === '"' || source[at] === "'") {
      const end = endOfString(source, at);
      yield { text: unescape(source.slice(at + 1, end - 1)), start: at, end };
      at = end;
    } else if (source[at] === "`") {
      const { parts, inner, end } = readTemplate(source, at);
      yield { text: unescape(parts.join("${…}")), start: at, end };
      for (const code of inner) {
        yield* readLiterals(code).map((literal) => ({ ...literal, start: -1, end: -1 }));
      }
      at = end;
    } else at++;
  }
}

/** Where the comment or the regular expression ends that begins at `at`; `at` if none does. */
function skipOther(source: string, at: number): number {
  if (source[at] !== "/") return at;
  if (source[at + 1] === "/") return indexAfter(source, "\n", at);
  if (source[at + 1] === "*") return indexAfter(source, "*/", at + 2);
  const before = source.slice(0, at).trimEnd().at(-1) ?? "(";
  if (!"(,=:[!&|?{};>\n".includes(before)) return at;
  const regExp = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
  regExp.lastIndex = at;
  return regExp.test(source) ? regExp.lastIndex : at;
}

function indexAfter(source: string, text: string, from: number): number {
  const found = source.indexOf(text, from);
  return found < 0 ? source.length : found + text.length;
}

function endOfString(source: string, start: number): number {
  let at = start + 1;
  while (at < source.length && source[at] !== source[start]) at += source[at] === "\\" ? 2 : 1;
  return at + 1;
}

/** The texts of a template, and the code between them. */
function readTemplate(source: string, start: number): { parts: string[]; inner: string[]; end: number } {
  const parts: string[] = [], inner: string[] = [];
  let from = start + 1, at = from;
  while (at < source.length && source[at] !== "`") {
    if (source.startsWith("${", at)) {
      parts.push(source.slice(from, at));
      const end = endOfCode(source, at + 2);
      inner.push(source.slice(at + 2, end));
      at = from = end + 1;
    } else at += source[at] === "\\" ? 2 : 1;
  }
  parts.push(source.slice(from, at));
  return { parts, inner, end: at + 1 };
}

/** Where the brace is that ends the code which begins at `at`. */
function endOfCode(source: string, at: number): number {
  for (let depth = 0; at < source.length;) {
    const skipped = skipOther(source, at);
    if (skipped > at) at = skipped;
    else if (source[at] === '"' || source[at] === "'") at = endOfString(source, at);
    else if (source[at] === "`") at = readTemplate(source, at).end;
    else if (source[at] === "}" && depth === 0) return at;
    else {
      if (source[at] === "{") depth++;
      if (source[at] === "}") depth--;
      at++;
    }
  }
  return at;
}

function unescape(text: string): string {
  return text.replace(/\\(["'`$\\])/g, "$1").replaceAll("\\n", "\n");
}
