/** Attacks on the two texts that are read before any key is known: key objects and `varve.json`, with sums that are right. */
import { createHash } from "node:crypto";
import { deriveKeys, repositoryMac } from "../../../src/codec/keys.ts";
import { toHex } from "../../../src/util/bytes.ts";
import { encodeCheckedJson } from "../../../src/format/checked_json.ts";
import type { Attack, Attacker } from "../attacker.ts";
import { PROJECTS } from "../template.ts";

const ODD_VALUES = [
  0,
  -1,
  0.5,
  1e308,
  "x",
  "",
  null,
  [],
  {},
  true,
  [[]],
  "\u001b[31m",
  "\u202e",
  "x".repeat(60_000),
];
const COSTS = [
  { n: 2 ** 17, r: 8, p: 1 },
  { n: 2 ** 18, r: 8, p: 1 },
  { n: 2 ** 18, r: 8, p: 16 },
  { n: 2, r: 2 ** 20, p: 1 },
  { n: 2, r: 2 ** 20, p: 16 },
  { n: 2 ** 21, r: 1, p: 16 },
  { n: 2, r: 1, p: 1 },
  { n: 3, r: 8, p: 1 },
  { n: 2 ** 31, r: 8, p: 1 },
  { n: 2 ** 15, r: 8, p: 1e9 },
  { n: 1e308, r: 1e308, p: 1 },
];

export const KEY_ATTACKS: Record<string, Attack> = {
  openKey: { weight: 4, act: (a) => plantOpenKey(a, a.project()) },
  replaceKeys: {
    weight: 3,
    act: async (a) => {
      const project = a.project();
      for (const id of a.template.keyIds(project)) await a.victim.remove(`projects/${project}/keys/${id}`);
      return `instead of the keys of ${project}: ${await plantOpenKey(a, project)}`;
    },
  },
  costlyHolders: {
    weight: 2,
    act: (a) => {
      const count = a.pick([1, 2, 16, 16, 17, 200]);
      const cost = a.pick(COSTS);
      const holders = Array.from({ length: count }, () => passphraseHolder(a, cost));
      const project = a.pick(["phrase", "phrase", "acme"]);
      return writeKey(a, project, a.once(2) ? a.template.keyIds(project as "acme")[0]! : a.hex(16), holders);
    },
  },
  manyCostlyKeys: {
    weight: 1,
    act: async (a) => {
      for (let i = 0; i < 30; i++) {
        await writeKey(a, "phrase", a.hex(16), [passphraseHolder(a, { n: 2 ** 18, r: 8, p: 1 })]);
      }
      return "thirty costly keys of phrase";
    },
  },
  oddHolders: {
    weight: 3,
    act: (a) => {
      const holder: Record<string, unknown> = a.pick([
        passphraseHolder(a, { n: 2 ** 17, r: 8, p: 1 }),
        { kind: "key-file", nonce: a.hex(24), sealed: a.hex(96) },
        { kind: "none", secret: a.hex(64) },
        { kind: "none", secret: a.hex(62) },
      ]);
      if (a.once(2)) holder[a.pick(Object.keys(holder))] = a.pick(ODD_VALUES);
      const holders = a.once(4) ? a.pick(ODD_VALUES) : [holder, a.once(3) ? a.pick(ODD_VALUES) : holder];
      const project = a.project();
      return writeKey(a, project, a.once(2) ? a.template.keyIds(project)[0]! : a.hex(16), holders);
    },
  },
  otherRepositoryId: {
    weight: 1,
    act: (a) => {
      a.renamedRepository = true;
      return a.write(
        "varve.json",
        encodeCheckedJson({ repository: a.hex(32), chunk_bytes: 65_536 }),
        "another id",
      );
    },
  },
  oddRepositoryFile: {
    weight: 1,
    act: (a) => {
      const sizes = [4096, 65_537, 131_072, 4_194_304, 33_554_432, 2 ** 40, "65536"];
      const [field, value] = a.pick([
        ["chunk_bytes", a.pick(sizes)],
        ["chunk_bytes", a.pick(ODD_VALUES)],
        ["repository", a.pick(ODD_VALUES)],
        ["varve", a.pick([...ODD_VALUES, 1, 9])],
      ]);
      const [line = ""] = Buffer.from(a.original("varve.json")).toString().split("\n");
      const text = encodeCheckedJson({ ...JSON.parse(line), [field as string]: value });
      a.renamedRepository ||= field === "repository";
      return a.write("varve.json", text, `with ${field} ${JSON.stringify(value)?.slice(0, 60)}`);
    },
  },
  otherRepositoryText: {
    weight: 1,
    act: (a) => {
      const line = a.pick([
        '{"varve":9,"new":true}',
        '{"varve":1}',
        '{"varve":99999999999999999999}',
        `{"varve":2,${'"a":['.repeat(10_000)}`,
        `{"varve":3,${"[".repeat(60_000)}`,
        "null",
        "\u001b[31m\u202e",
      ]);
      const sum = createHash("sha256").update(line).digest("hex");
      const key = a.once(2) ? "varve.json" : a.key("acme").replace(/\/acme\/.*/, `/acme/keys/${a.hex(16)}`);
      return a.write(
        key,
        new TextEncoder().encode(`${line}\n${sum}\n`),
        `says ${JSON.stringify(line.slice(0, 40))}`,
      );
    },
  },
};

/** Whose secret the attacker has made up, and anybody can read. */
function plantOpenKey(a: Attacker, project: string): Promise<string> {
  const secret = a.noise(32);
  const keys = deriveKeys(secret, project);
  const mac = toHex(repositoryMac(keys, a.template.repositoryId));
  return writeKey(a, project, toHex(keys.id), [{ kind: "none", secret: toHex(secret) }], mac);
}

function passphraseHolder(a: Attacker, cost: { n: number; r: number; p: number }): Record<string, unknown> {
  return { kind: "passphrase", ...cost, salt: a.hex(32), nonce: a.hex(24), sealed: a.hex(96) };
}

function writeKey(
  a: Attacker,
  project: string,
  id: string,
  holders: unknown,
  mac = a.hex(64),
): Promise<string> {
  const named = a.once(8) ? a.pick([...PROJECTS, ...ODD_VALUES]) : project;
  const says = JSON.stringify(holders) ?? "";
  return a.write(
    `projects/${project}/keys/${id}`,
    encodeCheckedJson({
      project: named,
      key: id,
      repository: a.once(8) ? a.pick([a.hex(32), ...ODD_VALUES]) : a.template.repositoryId,
      repository_mac: a.once(8) ? a.pick(ODD_VALUES) : mac,
      holders,
    }),
    `a key that says ${says.slice(0, 100)}`,
  );
}
