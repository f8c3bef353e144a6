/**
 * Folds changelog/unreleased into CHANGELOG.md, for scripts/release.
 * usage: bun scripts/changelog.ts VERSION DATE    prints what CHANGELOG.md will be
 */

/** Kinds of changes, as a file's first word names them, and the headings that they come under, in this order. */
const HEADINGS = {
  Change: "Changes that need action",
  Security: "Security",
  Bugfix: "Fixes",
  Enhancement: "Enhancements",
} as const;
type Kind = keyof typeof HEADINGS;

export interface Entry {
  kind: Kind;
  /** What changes for users, in the imperative, without a full stop. */
  title: string;
  /** One paragraph or more; may be empty. */
  text: string;
}

/** Reads one file of changelog/unreleased. Throws where it does not have the form of changelog/TEMPLATE.md. */
export function parseEntry(file: string, content: string): Entry {
  const [, kind = "", title = "", text = ""] = /^(\w+): ([^\n]*[^\n.])\n(?:\n([^]*))?$/.exec(content) ?? [];
  if (!Object.hasOwn(HEADINGS, kind)) {
    throw new Error(
      `Cannot read "${file}": it does not begin with "Bugfix: title" as changelog/TEMPLATE.md says`,
    );
  }
  return { kind: kind as Kind, title, text: text.trim() };
}

/** The section of a version: its entries by kind, in the order in which they are given. */
export function sectionOf(entries: readonly Entry[]): string {
  const parts = Object.entries(HEADINGS).flatMap(([kind, heading]) => {
    const items = entries.filter((entry) => entry.kind === kind).map(itemOf);
    return items.length === 0 ? [] : [`### ${heading}\n\n${items.join("\n")}`];
  });
  return parts.join("\n\n");
}

function itemOf({ title, text }: Entry): string {
  return `- **${title}.** ${text.replaceAll("\n", "\n  ").replace(/^ +$/gm, "")}`.trimEnd();
}

export interface Release {
  version: string;
  /** ISO 8601. */
  date: string;
  entries: readonly Entry[];
}

/**
 * The changelog with the release on top. What stands under "not yet released" of that version is kept below the entries.
 * Throws where the version is there already.
 */
export function fold(changelog: string, { version, date, entries }: Release): string {
  const [top = "", ...sections] = changelog.split(/^(?=## )/m);
  const pending = sections.find((section) => section.startsWith(`## ${version}, not yet released\n`));
  const others = sections.filter((section) => section !== pending);
  if (others.some((section) => section.startsWith(`## ${version},`))) {
    throw new Error(`Cannot release ${version}: CHANGELOG.md has it already`);
  }
  const kept = pending?.replace(/^.*\n/, "").trim();
  const body = [sectionOf(entries), kept].filter((part) => part).join("\n\n");
  if (body === "") throw new Error(`Cannot release ${version}: nothing is in changelog/unreleased`);
  return [top, `## ${version}, ${date}\n\n${body}\n${others.length === 0 ? "" : "\n"}`, ...others].join("");
}

if (import.meta.main) {
  const [version, date] = process.argv.slice(2);
  if (version === undefined || date === undefined) throw new Error("usage: changelog.ts VERSION DATE");
  const root = new URL("..", import.meta.url).pathname;
  const files = [...new Bun.Glob("changelog/unreleased/*.md").scanSync(root)].toSorted();
  const read = async (file: string) => parseEntry(file, await Bun.file(root + file).text());
  const entries = await Promise.all(files.map(read));
  await Bun.write(Bun.stdout, fold(await Bun.file(`${root}CHANGELOG.md`).text(), { version, date, entries }));
}
