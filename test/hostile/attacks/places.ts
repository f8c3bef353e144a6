/** Attacks on many objects at once: whole folders exchanged, taken away, brought back; and names that nobody expects. */
import type { Attack, Attacker } from "../attacker.ts";
import { PROJECTS } from "../template.ts";

const FOLDERS = ["keys", "chunks", "volumes", "volumes/db", "holds", "gc", "leases", "forgotten"];
const BACKUP = "20261129T000000000Z-00000000";
const ESCAPE = "\u001b[2Jred\u0007";
const BIDI = "\u202egnp.exe";

const ODD_NAMES = [
  "projects/a b/keys/k",
  "projects/a b/keys/0123456789abcdef",
  `projects/${ESCAPE}/keys/0123456789abcdef`,
  `projects/${BIDI}/keys/0123456789abcdef`,
  "projects/-rf/keys/0123456789abcdef",
  "projects/acme",
  "projects/zeta/keys",
  `projects/zeta/volumes/db/${BACKUP}`,
  `projects/zeta/chunks/00/${"00".repeat(32)}`,
  "projects/zeta/keys/0123456789abcdef",
  `projects/acme/volumes/${BACKUP}`,
  `projects/acme/volumes/db/${BACKUP}/${BACKUP}`,
  `projects/acme/volumes/d b/${BACKUP}`,
  `projects/acme/volumes/${ESCAPE}/${BACKUP}`,
  `projects/acme/volumes/${BIDI}/${BACKUP}`,
  `projects/open/volumes/${ESCAPE}/${BACKUP}`,
  `projects/open/volumes/${"v".repeat(201)}/${BACKUP}`,
  `projects/acme/volumes/${"deep/".repeat(60)}${BACKUP}`,
  `projects/acme/volumes/db/${BACKUP.toLowerCase()}`,
  `projects/acme/volumes/db/${BACKUP}.tmp`,
  "projects/acme/volumes/db/20261399T000000000Z-00000000",
  `projects/acme/volumes/db/20261129T000000000Z-00000000\n`,
  "projects/acme/volumes/db/.hidden",
  "projects/acme/keys/0123456789ABCDEF",
  `projects/acme/chunks/zz/${"00".repeat(32)}`,
  `projects/acme/chunks/00/${"FF".repeat(32)}`,
  `projects/acme/chunks/00/${ESCAPE}`,
  `projects/acme/leases/${ESCAPE}`,
  `projects/acme/gc/${"0".repeat(32)}/${ESCAPE}`,
  `projects/acme/gc/${"0".repeat(32)}/head/head`,
  `projects/acme/marked/${ESCAPE}`,
  `projects/acme/holds/${ESCAPE}/${BACKUP}`,
  `projects/acme/forgotten/${BIDI}`,
  `${ESCAPE}`,
  "tmp/old",
  "reserve/within",
];

export const PLACE_ATTACKS: Record<string, Attack> = {
  exchangeFolders: {
    weight: 4,
    act: async (a) => {
      const folder = a.pick(["", ...FOLDERS]);
      const [one, other] = [a.project(), a.project()];
      const before = [below(a, one, folder), below(a, other, folder)] as const;
      for (const key of [...before[0].keys(), ...before[1].keys()]) await a.victim.remove(key);
      await moveAll(a, before[0], { from: one, to: other });
      await moveAll(a, before[1], { from: other, to: one });
      return `"${folder}" of ${one} and ${other}: exchanged`;
    },
  },
  copyFolder: {
    weight: 4,
    act: async (a) => {
      const folder = a.pick(["", ...FOLDERS]);
      const [from, to] = [a.project(), a.pick([...PROJECTS, "zeta"])];
      await moveAll(a, below(a, from, folder), { from, to });
      return `"${folder}" of ${from}: copied to ${to}`;
    },
  },
  removeFolder: {
    weight: 3,
    act: async (a) => {
      const project = a.project();
      const folder = a.pick(["", ...FOLDERS]);
      for (const key of below(a, project, folder).keys()) await a.victim.remove(key);
      return `"${folder}" of ${project}: removed`;
    },
  },
  removeNewest: {
    weight: 3,
    act: async (a) => {
      const newest = [...below(a, a.project(), "volumes/db").keys()].sort().slice(-1 - a.draw(2));
      for (const key of newest) await a.victim.remove(key);
      return `the newest of ${newest[0]}: removed`;
    },
  },
  rollBack: {
    weight: 4,
    act: async (a) => {
      const project = a.pick(["", ...PROJECTS.map((name) => `projects/${name}/`)]);
      const stage = a.draw(a.template.stages.length - 1);
      for (const key of a.template.objects.keys()) if (key.startsWith(project)) await a.victim.remove(key);
      for (const [key, bytes] of a.template.stages[stage]!) {
        if (key.startsWith(project)) await a.victim.write(key, bytes);
      }
      return `"${project}": all as it was at step ${stage}`;
    },
  },
  foreignProject: {
    weight: 3,
    act: async (a) => {
      const isLaidOver = a.once(2);
      const prefix = "projects/acme/";
      const own = isLaidOver ? [] : [...a.template.objects.keys()].filter((key) => key.startsWith(prefix));
      for (const key of own) await a.victim.remove(key);
      for (const [key, bytes] of a.template.foreign) {
        if (key.startsWith(prefix)) await a.victim.write(key, bytes);
      }
      return `acme of another repository: ${isLaidOver ? "laid over this one's" : "in this one's place"}`;
    },
  },
  bringBackForgotten: {
    weight: 2,
    act: async (a) => {
      const gone = a.template.stages.flatMap((stage) =>
        [...stage].filter(([key]) => key.includes("/volumes/") && !a.template.objects.has(key))
      );
      for (const [key, bytes] of gone) await a.victim.write(key, bytes);
      return "what was forgotten is there again";
    },
  },
  oddName: {
    weight: 5,
    act: (a) => {
      const content = a.pick([new Uint8Array(), a.noise(100), a.original(a.key())]);
      return a.write(a.pick(ODD_NAMES), content, "is there");
    },
  },
  manyNames: {
    weight: 1,
    act: async (a) => {
      const folder = a.pick(["keys", "leases", "volumes/db", "gc", "holds/db"]);
      const project = a.project();
      for (let i = 0; i < 40; i++) {
        const name = folder === "keys" ? a.hex(16) : folder === "gc" ? `${a.hex(32)}/head` : a.hex(32);
        const last = folder.endsWith("/db")
          ? `202${a.draw(10)}0101T00000000${a.draw(10)}Z-${a.hex(8)}`
          : name;
        await a.victim.write(`projects/${project}/${folder}/${last}`, a.original(a.key(project)));
      }
      return `"${folder}" of ${project}: forty more`;
    },
  },
};

function below(a: Attacker, project: string, folder: string): Map<string, Uint8Array> {
  const prefix = `projects/${project}/${folder === "" ? "" : `${folder}/`}`;
  return new Map([...a.template.objects].filter(([key]) => key.startsWith(prefix)));
}

async function moveAll(
  a: Attacker,
  objects: ReadonlyMap<string, Uint8Array>,
  { from, to }: { from: string; to: string },
): Promise<void> {
  for (const [key, bytes] of objects) {
    await a.victim.write(`projects/${to}/${key.slice(`projects/${from}/`.length)}`, bytes);
  }
}
