/** Attacks on a directory: links that lead out of it, pipes and devices, folders for files, times and modes. */
import fs from "node:fs";
import path from "node:path";
import type { Attack, Attacker } from "../attacker.ts";
import { CANARY_FILES, CANARY_PATHS } from "../canary.ts";
import { attempt } from "../victim.ts";
import { newKey } from "./objects.ts";

/** Seconds since 1970 that a file may say it was last written. */
const TIMES_S = [-1e9, 0, 1, 4e9, 253_402_300_799, 1e11];

export const FILE_ATTACKS: Record<string, Attack> = {
  link: {
    weight: 6,
    onFiles: true,
    act: async (a) => {
      const [place, target] = [placeOf(a), linkTarget(a)];
      remove(a, place);
      attempt(() => fs.symlinkSync(target, inside(a, place)));
      return `"${place}": a link to "${target}"`;
    },
  },
  moveOut: {
    weight: 4,
    onFiles: true,
    act: async (a) => {
      const place = placeOf(a);
      const out = path.join(a.canary, `moved-${a.hex(8)}`);
      const moved = attempt(() => (fs.renameSync(inside(a, place), out), true)) ?? false;
      if (!moved) return `"${place}": is not there to be moved`;
      attempt(() => fs.symlinkSync(out, inside(a, place)));
      return `"${place}": moved out, and a link in its place`;
    },
  },
  hardLink: {
    weight: 3,
    onFiles: true,
    act: async (a) => {
      const key = a.once(2) ? newKey(a) : a.pick([a.key(), "reserve", "tmp/old", "varve.json"]);
      const from = path.join(a.canary, a.pick(CANARY_FILES));
      link(a, from, key);
      return `"${key}": another name of "${from}"`;
    },
  },
  special: {
    weight: 4,
    onFiles: true,
    act: async (a) => {
      const [place, kind] = [a.once(3) ? newKey(a) : placeOf(a), a.pick(Object.keys(a.special))];
      link(a, a.special[kind]!, place);
      return `"${place}": a ${kind}`;
    },
  },
  folderForFile: {
    weight: 2,
    onFiles: true,
    act: async (a) => {
      const key = a.once(4) ? newKey(a) : a.key();
      remove(a, key);
      attempt(() => fs.mkdirSync(inside(a, a.once(2) ? key : `${key}/within`), { recursive: true }));
      return `"${key}": a folder`;
    },
  },
  fileForFolder: {
    weight: 2,
    onFiles: true,
    act: async (a) => {
      const folder = folderOf(a);
      remove(a, folder);
      attempt(() => fs.writeFileSync(inside(a, folder), a.pick(["", "file", a.noise(100)])));
      return `"${folder}": a file`;
    },
  },
  renameFolder: {
    weight: 3,
    onFiles: true,
    act: async (a) => {
      const [from, to] = [folderOf(a), folderOf(a)];
      const aside = inside(a, `aside-${a.hex(8)}`);
      attempt(() => fs.renameSync(inside(a, from), aside));
      attempt(() => fs.renameSync(inside(a, to), inside(a, from)));
      attempt(() => fs.renameSync(aside, inside(a, to)));
      return `"${from}" and "${to}": exchanged`;
    },
  },
  time: {
    weight: 3,
    onFiles: true,
    act: async (a) => {
      const place = placeOf(a);
      const time = a.pick(TIMES_S);
      attempt(() => fs.lutimesSync(inside(a, place), time, time));
      return `"${place}": dated ${time} s`;
    },
  },
  mode: {
    weight: 1,
    onFiles: true,
    act: async (a) => {
      const place = placeOf(a);
      const mode = a.pick([0, 0o444, 0o777, 0o4777]);
      const isLink = attempt(() => fs.lstatSync(inside(a, place)).isSymbolicLink()) ?? true;
      if (!isLink) attempt(() => fs.chmodSync(inside(a, place), mode));
      return `"${place}": mode ${mode.toString(8)}`;
    },
  },
  oldTemporary: {
    weight: 2,
    onFiles: true,
    act: async (a) => {
      const name = `tmp/${a.pick(["old", crypto.randomUUID(), "letter.txt"])}`;
      remove(a, name);
      attempt(() => fs.mkdirSync(inside(a, "tmp"), { recursive: true }));
      attempt(() => fs.symlinkSync(path.join(a.canary, a.pick(CANARY_PATHS)), inside(a, name)));
      attempt(() => fs.lutimesSync(inside(a, name), 1, 1));
      return `"${name}": an old link`;
    },
  },
  bytesInName: {
    weight: 1,
    onFiles: true,
    act: async (a) => {
      const folder = folderOf(a);
      const name = Buffer.concat([
        Buffer.from(`${inside(a, folder)}/`),
        Buffer.from([0xff, 0xfe, 0x1b, 0x5b]),
      ]);
      attempt(() => fs.writeFileSync(name, "x"));
      return `"${folder}": a name that is no text`;
    },
  },
};

function inside(a: Attacker, key: string): string {
  return path.join(a.victim.folder!, key);
}

function remove(a: Attacker, key: string): void {
  attempt(() => fs.mkdirSync(path.dirname(inside(a, key)), { recursive: true }));
  attempt(() => fs.rmSync(inside(a, key), { recursive: true, force: true }));
}

function link(a: Attacker, from: string, key: string): void {
  remove(a, key);
  attempt(() => fs.linkSync(from, inside(a, key)));
}

/** A file, a folder, or a name that nothing has. */
function placeOf(a: Attacker): string {
  const project = a.project();
  const stray = [
    "tmp",
    "tmp/old",
    `projects/${project}/zz`,
    `projects/zz`,
    `projects/${project}/volumes/zz`,
    "zz",
  ];
  const id = `01${a.hex(62)}`;
  return a.pick([
    a.key(),
    folderOf(a),
    folderOf(a),
    a.pick(stray),
    newKey(a),
    `projects/${project}/chunks/01/${id}`,
  ]);
}

function folderOf(a: Attacker): string {
  const key = a.once(4) ? "tmp/x" : a.key();
  const parts = key.split("/");
  return parts.length === 1 ? "projects" : parts.slice(0, 1 + a.draw(parts.length - 1)).join("/");
}

function linkTarget(a: Attacker): string {
  const canary = path.join(a.canary, a.pick(CANARY_PATHS));
  return a.pick([
    canary,
    canary,
    canary,
    a.canary,
    path.relative(a.victim.folder!, canary),
    ".",
    "itself",
    a.victim.folder!,
    inside(a, `projects/${a.project()}`),
    inside(a, a.key()),
    a.special.device ?? a.special.pipe!,
    a.special.pipe!,
  ]);
}
