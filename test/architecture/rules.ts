/** What holds for the source tree as a whole. Each rule gives one line for each place that breaks it. docs/architecture.md. */
import { dirname, join, normalize } from "node:path";
import { commentsOf, exportsOf, importsOf, type Texts } from "./source_tree.ts";

/** From the ground up. A folder imports from lower ranks only; folders of one rank do not know each other. */
export const RANKS: readonly (readonly string[])[] = [
  ["src/errors.ts", "src/util"],
  ["src/os", "src/format"],
  ["src/context.ts", "src/rbd", "src/codec", "src/store"],
  ["src/cache", "src/state", "src/sources", "src/targets"],
  ["src/project"],
  ["src/volume"],
  [
    "src/engine/backup",
    "src/engine/copy",
    "src/engine/erase",
    "src/engine/gc",
    "src/engine/restore",
    "src/engine/retention",
    "src/engine/stats",
    "src/engine/verify",
  ],
  ["src/cli"],
  ["src/main.ts", "workers"],
];

/** Folders of which only one file may know the parts. */
const DOORS: Readonly<Record<string, string>> = {
  "src/store/directory": "src/store/open.ts",
  "src/store/s3": "src/store/open.ts",
  "src/store/wrappers": "src/store/open.ts",
  "src/cli/commands": "src/main.ts",
};
/** What others need of a folder behind a door before its parts are loaded: constants for `--help`. */
const LOBBY = ["src/store/s3/addressing.ts", "src/store/wrappers/retry.ts"];

const LINES_MAX = 350;

/** Imports that run up, or sideways. */
export function ranks(texts: Texts): string[] {
  return imports(texts).flatMap(({ from, to }) => {
    const [a, b] = [placeOf(from), placeOf(to)];
    if (a === undefined) return [`${from} is in no folder that has a rank`];
    if (b === undefined || a.name === b.name || b.rank < a.rank) return [];
    return [`${from} imports ${to}, which is ${b.rank === a.rank ? "beside" : "above"} it`];
  });
}

/** Imports past a folder's door. */
export function doors(texts: Texts): string[] {
  return imports(texts).flatMap(({ from, to }) => {
    const behind = Object.keys(DOORS).find((folder) => to.startsWith(`${folder}/`));
    if (behind === undefined || from.startsWith(`${behind}/`) || LOBBY.includes(to)) return [];
    return DOORS[behind] === from ? [] : [`${from} imports ${to}, which only ${DOORS[behind]} knows`];
  });
}

/** Files that import each other, by whatever way. */
export function circles(texts: Texts): string[] {
  const edges = Map.groupBy(imports(texts), ({ from }) => from);
  const done = new Set<string>();
  const found: string[] = [];
  const walk = (file: string, path: readonly string[]) => {
    const at = path.indexOf(file);
    if (at >= 0) return void found.push([...path.slice(at), file].join(" -> "));
    if (done.has(file)) return;
    for (const { to } of edges.get(file) ?? []) walk(to, [...path, file]);
    done.add(file);
  };
  for (const file of texts.keys()) walk(file, []);
  return found;
}

/** Names that a file of `src` exports and no other file imports. */
export function unusedExports(texts: Texts): string[] {
  const used = new Map<string, Set<string> | "all">();
  for (const [file, text] of texts) {
    for (const { file: to, names } of importsOf(file, text)) {
      const known = used.get(to);
      if (names === undefined || known === "all") used.set(to, "all");
      else used.set(to, new Set([...known ?? [], ...names]));
    }
  }
  // The build names one in a text that it writes.
  const scripts = [...texts].filter(([file]) => file.startsWith("scripts/")).map(([, text]) => text).join();
  return [...texts].filter(([file]) => file.startsWith("src/")).flatMap(([file, text]) => {
    const known = used.get(file);
    if (known === "all") return [];
    return exportsOf(text).filter((name) => !known?.has(name) && !scripts.includes(name)).map((name) =>
      `${file} exports ${name} to nobody`
    );
  });
}

/** Files that nobody reads at one go. */
export function longFiles(texts: Texts): string[] {
  const lines = ([, text]: readonly [string, string]) => text.trimEnd().split("\n").length;
  return [...texts].filter(([file]) => file.startsWith("src/")).filter((entry) => lines(entry) > LINES_MAX)
    .map((entry) => `${entry[0]} has ${lines(entry)} lines, more than ${LINES_MAX}`);
}

/** Headings that comments and documents name (`docs/x.md, "Heading"`, `x.md#heading`) and that are not there. */
export function headings(texts: Texts): string[] {
  const there = new Map(
    [...texts].filter(([file]) => file.endsWith(".md")).map(([file, text]) => [file, headingsOf(text)]),
  );
  return [...texts].flatMap(([file, text]) => {
    const words = (file.endsWith(".ts") ? commentsOf(text) : text).replace(/\n\s*(?:\*|\/\/) ?/g, " ");
    const named = [...words.matchAll(/(docs\/[\w-]+\.md), "([^"]+)"/g)].map(([, page, heading]) => ({
      page: page!,
      isThere: there.get(page!)?.some((other) => other === heading) ?? false,
      heading: heading!,
    }));
    const linked = file.endsWith(".md")
      ? [...text.matchAll(/\]\(([\w./-]*)#([^)]+)\)/g)].map(([, page, anchor]) => {
        const to = page === "" ? file : normalize(join(dirname(file), page!));
        return {
          page: to,
          heading: `#${anchor}`,
          isThere: there.get(to)?.some((other) => anchorOf(other) === anchor) ?? false,
        };
      })
      : [];
    return [...named, ...linked].filter(({ isThere }) => !isThere)
      .map(({ page, heading }) => `${file} names "${heading}" of ${page}, which has no such heading`);
  });
}

/** Paths that comments and documents name and that are not there. In documents, `project/x.ts` is a file of `src`. */
export function paths(texts: Texts, there: ReadonlySet<string>): string[] {
  const isThere = (path: string) => {
    const plain = path.replace(/\/$/, "");
    return there.has(plain) || there.has(`src/${plain}`);
  };
  return [...texts].flatMap(([file, text]) => {
    const isPage = file.endsWith(".md");
    const words = isPage ? text.replace(/```[\s\S]*?```/g, "") : commentsOf(text);
    const named = [
      ...words.matchAll(/(?<![\w/.-])(?:src|test|bench|scripts|docs|examples|workers)\/[\w./-]*\w/g),
      ...isPage ? words.matchAll(/(?<=`)[a-z][\w/-]*\/[\w-]+\.ts(?=`)/g) : [],
    ].map(([path]) => path!);
    const linked = isPage
      ? [...words.matchAll(/\]\((?!https?:)([\w./-]+)(?:#[^)]*)?\)/g)].map(([, to]) =>
        normalize(join(dirname(file), to!))
      )
      : [];
    return [...new Set([...named, ...linked])].filter((path) => !isThere(path))
      .map((path) => `${file} names ${path}, which is not there`);
  });
}

interface Arrow {
  from: string;
  to: string;
}

/** Imports among the given files of `src` and `workers`. */
function imports(texts: Texts): Arrow[] {
  const inside = [...texts].filter(([file]) => /^(src|workers)\//.test(file));
  return inside.flatMap(([from, text]) =>
    importsOf(from, text).map(({ file: to }) => ({ from, to })).filter(({ to }) => texts.has(to))
  );
}

function placeOf(file: string): { name: string; rank: number } | undefined {
  for (const [rank, names] of RANKS.entries()) {
    const name = names.find((name) => file === name || file.startsWith(`${name}/`));
    if (name !== undefined) return { name, rank };
  }
  return undefined;
}

function headingsOf(text: string): string[] {
  return [...text.replace(/```[\s\S]*?```/g, "").matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!.trim()
  );
}

/** As GitHub makes it. */
function anchorOf(heading: string): string {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-");
}
