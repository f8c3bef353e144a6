/**
 * Plays rounds of the hostile writer in a process of its own, by hand and for the test suite in shares. Ends at the first
 * round in which something does not hold, with its trace; the round's folder stays.
 */
import fs from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { startMinio } from "../kit/minio.ts";
import { Forger } from "./forger.ts";
import { Round, type World } from "./round.ts";
import { Template } from "./template.ts";

const { values } = parseArgs({
  options: {
    /** How many, and the first. */
    rounds: { type: "string", default: "100" },
    from: { type: "string", default: "1" },
    /** `directory` or `minio`. */
    store: { type: "string", default: "directory" },
    /** Each step, also of rounds in which all holds. */
    trace: { type: "boolean", default: false },
    /** Goes on after a round in which something does not hold, and tells them all. */
    "keep-going": { type: "boolean", default: false },
  },
});
const [rounds, from] = [Number(values.rounds), Number(values.from)];

const folder = fs.mkdtempSync(path.join(tmpdir(), "varve-hostile-"));
const server = values.store === "minio" ? await startMinio() : undefined;
const template = await Template.make(path.join(folder, "template"));
const forger = await Forger.open(template.path("repository"));
const world: World = { template, forger, folder, special: await makeSpecial(), server };
fs.mkdirSync(path.join(folder, "tmp"));

let bad = 0;
const codes: (number | null)[] = [];
for (let seed = from; seed < from + rounds; seed++) {
  const lines: string[] = [];
  const trace = values.trace ? console.log : (line: string) => void lines.push(line);
  trace(`round ${seed}`);
  const round = await Round.play(world, { seed, trace });
  codes.push(...round.codes);
  if (round.violations.length === 0) continue;
  bad++;
  for (const line of lines) console.log(line);
  console.log(
    `replay: node_modules/.bin/bun test/hostile/main.ts --store ${values.store} --from ${seed} --rounds 1 --trace`,
  );
  if (!values["keep-going"]) break;
}
await server?.stop();
if (bad === 0 || values["keep-going"]) fs.rmSync(folder, { recursive: true });
else console.log(`kept: ${folder}`);
const outcome = bad === 0 ? "nothing wrong" : `something wrong in ${bad}`;
console.log(`${outcome}: ${rounds} rounds from ${from}, ${codes.length} commands ended ${tally()}`);
process.exit(bad === 0 ? 0 : 1);

/** How many commands ended with which exit code. */
function tally(): string {
  const all = [...new Set(codes)].sort((a, b) => Number(a) - Number(b));
  const count = (code: number | null) => codes.filter((other) => other === code).length;
  return all.map((code) => `${count(code)} with ${code ?? "a signal"}`).join(", ");
}

/** A named pipe, a socket and, for who may make one, a device that never ends: an attacker links to them. */
async function makeSpecial(): Promise<Record<string, string>> {
  const special = {
    pipe: path.join(folder, "pipe"),
    socket: path.join(folder, "socket"),
    device: path.join(folder, "device"),
  };
  await Bun.spawn(["mkfifo", special.pipe]).exited;
  createServer().listen(special.socket).unref();
  await Bun.spawn(["mknod", special.device, "c", "1", "5"], { stderr: "ignore" }).exited;
  const made = Object.entries(special).filter(([, file]) => fs.existsSync(file));
  return Object.fromEntries(made);
}
