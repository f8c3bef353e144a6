/** Draws the rows as an SVG picture that reads well on a light and on a dark page. Pure. */
import { type Row, wallText } from "./table.ts";

const WIDTH = 760;
const LABEL_WIDTH = 150;
const VALUE_WIDTH = 120;
const BAR_HEIGHT = 14;
const LINE_HEIGHT = 20;
const HEAD_HEIGHT = 30;
const GAP = 14;
const TOP = 58;

const STYLE = `
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.case { font-weight: 600 }
.note, .limit-text { fill: #656d76 }
.varve { fill: #0969da }
.peer { fill: #afb8c1 }
.limit { fill: none; stroke: #8c959f; stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.note, .limit-text { fill: #8d96a0 }
.varve { fill: #4493f8 }
.peer { fill: #57606a }
.limit { stroke: #768390 }
}`;

interface Bar {
  label: string;
  kind: Row["kind"];
  value: string;
  /** Of the case's longest. */
  share: number;
}

/** Horizontal bars of wall times, a group for each case that has a peer; `note` is a line below the title. */
export function chart(rows: Row[], note: string): string {
  const parts: string[] = [];
  let y = TOP;
  for (const [name, group] of Map.groupBy(rows, (row) => row.case)) {
    if (!group.some(({ kind }) => kind === "peer")) continue;
    parts.push(`<text class="case" x="0" y="${y + 14}">${escaped(name)}</text>`);
    y += HEAD_HEIGHT - 8;
    for (const bar of barsOf(group)) {
      parts.push(draw(bar, y));
      y += LINE_HEIGHT;
    }
    y += GAP;
  }
  const title = "Wall time, less is better";
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img" aria-label="${title}">
<style>${STYLE}
</style>
<text class="title" x="0" y="18">${title}</text>
<text class="note" x="0" y="38">${escaped(note)}</text>
${parts.join("\n")}
</svg>
`;
}

/** Of the limits only the slowest, which is the one that counts. */
function barsOf(rows: Row[]): Bar[] {
  const limits = rows.filter(({ kind }) => kind === "limit").toSorted((a, b) => seconds(b) - seconds(a));
  const shown = [...rows.filter(({ kind }) => kind !== "limit"), ...limits.slice(0, 1)];
  const longest = Math.max(...shown.map(seconds));
  return shown.map((row) => ({
    label: row.kind === "limit" ? `limit: ${row.program}` : row.program,
    kind: row.kind,
    value: wallText(row),
    share: seconds(row) / longest,
  }));
}

function draw({ label, kind, value, share }: Bar, y: number): string {
  const width = Math.max(2, share * (WIDTH - LABEL_WIDTH - VALUE_WIDTH));
  const baseline = y + BAR_HEIGHT - 3;
  const text = kind === "limit" ? ' class="limit-text"' : "";
  return `<text${text} x="${LABEL_WIDTH - 8}" y="${baseline}" text-anchor="end">${escaped(label)}</text>` +
    `<rect class="${kind}" x="${LABEL_WIDTH}" y="${y}" width="${
      width.toFixed(1)
    }" height="${BAR_HEIGHT}" rx="2"/>` +
    `<text${text} x="${(LABEL_WIDTH + width + 8).toFixed(1)}" y="${baseline}">${escaped(value)}</text>`;
}

function seconds({ wallS, moreThanS }: Row): number {
  return wallS ?? moreThanS ?? 0;
}

function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
