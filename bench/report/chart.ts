/** Draws the rows as an SVG picture that reads well on a light and on a dark page. Pure. */
import { type Row, secondsOf, wallText } from "./table.ts";

const WIDTH = 760;
const LABEL_WIDTH = 165;
const VALUE_WIDTH = 120;
const BAR_HEIGHT = 13;
const LINE_HEIGHT = 18;
const CASE_HEIGHT = 22;
const GAP = 12;
const TOP = 82;
const TITLE = "Wall time, less is better";

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

/** Horizontal bars of wall times, a group for each case that has a peer; `machine` is said below the title. */
export function chart(rows: Row[], machine: string): string {
  const groups = [...Map.groupBy(rows, (row) => row.case)]
    .filter(([, group]) => group.some(({ kind }) => kind === "peer"));
  const parts: string[] = [];
  let y = TOP;
  for (const [name, group] of groups) {
    parts.push(`<text class="case" x="0" y="${y}">${escaped(name)}</text>`);
    y += CASE_HEIGHT - BAR_HEIGHT;
    for (const bar of barsOf(group)) {
      parts.push(draw(bar, y));
      y += LINE_HEIGHT;
    }
    y += GAP + BAR_HEIGHT;
  }
  return picture([...heading(machine), ...parts], y - BAR_HEIGHT);
}

function heading(machine: string): string[] {
  return [
    `<text class="title" x="0" y="17">${TITLE}</text>`,
    `<text class="note" x="0" y="36">${escaped(machine)}</text>`,
    '<text class="note" x="0" y="52">Each group has a scale of its own.</text>',
  ];
}

function picture(parts: string[], height: number): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"` +
    ` role="img" aria-label="${TITLE}">\n<style>${STYLE}\n</style>\n${parts.join("\n")}\n</svg>\n`;
}

/** Of the limits only the slowest, which is the one that counts. */
function barsOf(rows: Row[]): Bar[] {
  const limits = rows.filter(({ kind }) => kind === "limit").toSorted((a, b) => secondsOf(b) - secondsOf(a));
  const shown = [...rows.filter(({ kind }) => kind !== "limit"), ...limits.slice(0, 1)];
  const longest = Math.max(...shown.map(secondsOf));
  return shown.map((row) => ({
    label: row.kind === "limit" ? `limit: ${row.program}` : row.program,
    kind: row.kind,
    value: wallText(row),
    share: secondsOf(row) / longest,
  }));
}

function draw({ label, kind, value, share }: Bar, y: number): string {
  const width = Math.max(2, share * (WIDTH - LABEL_WIDTH - VALUE_WIDTH));
  const baseline = y + BAR_HEIGHT - 2.5;
  const text = kind === "limit" ? ' class="limit-text"' : "";
  return `<text${text} x="${LABEL_WIDTH - 8}" y="${baseline}" text-anchor="end">${escaped(label)}</text>` +
    `<rect class="${kind}" x="${LABEL_WIDTH}" y="${y}" width="${
      width.toFixed(1)
    }" height="${BAR_HEIGHT}" rx="2"/>` +
    `<text${text} x="${(LABEL_WIDTH + width + 8).toFixed(1)}" y="${baseline}">${escaped(value)}</text>`;
}

function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
