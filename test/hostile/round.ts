/** One round: the repository as it was, beside a tree that is nobody's business; an attack; then commands, each of which is judged. */
import fs from "node:fs";
import path from "node:path";
import { random } from "../kit/random.ts";
import type { S3Server } from "../kit/s3_server.ts";
import { type Attack, Attacker } from "./attacker.ts";
import { ATTACKS } from "./attacks/all.ts";
import { differences, lookAt, makeCanary } from "./canary.ts";
import { COMMANDS } from "./commands.ts";
import { type Forger, OPEN_PROJECT } from "./forger.ts";
import { type Ran, run } from "./run.ts";
import { type Point, type ProjectName, SEALED, type Template } from "./template.ts";
import { judge } from "./told.ts";
import { BucketVictim, DirectoryVictim, type Victim } from "./victim.ts";

/** So much time has work on something giant, or on an erase that waits for leases, before it is asked to end. */
const ASKED_AFTER_MS = 5000;
/** One command in so many is sent SIGTERM somewhere in its first fifth of a second. */
const ASKED_ONE_IN = 12;
const PASSPHRASE_ONE_IN = 8;
/** Beside the repository a round has these, and nothing may be made in the last two or beside them. */
const OWN = ["repository", "second", "cache", "state", "targets"];

export interface World {
  template: Template;
  forger: Forger;
  /** A scratch folder; rounds are played in `round` below it. */
  folder: string;
  special: Readonly<Record<string, string>>;
  /** Where buckets are; a directory is attacked without it. */
  server: S3Server | undefined;
}

export interface RoundOptions {
  seed: number;
  /** Told of each step. */
  trace: (line: string) => void;
}

export interface VarveCall {
  secret?: ProjectName | undefined;
  stdin?: Uint8Array;
  output?: "text" | "json" | "bytes";
  /** It may wait for others, or work on something giant. */
  mayWait?: boolean;
}

export class Round {
  readonly draw: (limit: number) => number;
  readonly template: Template;
  readonly victim: Victim;
  /** The project that most of the round is about. */
  readonly focus: ProjectName;
  /** What did not hold. */
  readonly violations: string[] = [];
  /** Points that commands of this round made. */
  readonly made: Point[] = [];
  /** The host has backed up here before, and has not lost what it noted. */
  #hasState = false;
  /** It has forgotten points itself since. */
  hasForgotten = false;
  /** Projects that commands of this round made again: with other keys, or none. */
  readonly remade = new Set<string>();
  /** How the commands ended, in their order. */
  readonly codes: (number | null)[] = [];
  readonly #folder: string;
  readonly #attacker: Attacker;
  readonly #trace: (line: string) => void;
  #beside = new Map<string, string>();

  private constructor(world: World, victim: Victim, { seed, trace }: RoundOptions) {
    this.draw = random(seed);
    this.template = world.template;
    this.victim = victim;
    this.#folder = path.join(world.folder, "round");
    this.#trace = trace;
    const { template, forger, special } = world;
    const canary = this.path("canary");
    // A passphrase takes its time to stretch.
    this.focus = this.once(PASSPHRASE_ONE_IN) ? "phrase" : this.pick(["acme", "beta", "open"]);
    const { draw, focus } = this;
    this.#attacker = new Attacker({ draw, victim, template, forger, special, canary, focus });
  }

  /** Plays the round of that seed. */
  static async play(world: World, options: RoundOptions): Promise<Round> {
    const round = new Round(world, await prepare(world, options.seed), options);
    if (round.once(2)) fs.cpSync(world.template.path("cache"), round.path("cache"), { recursive: true });
    round.#hasState = round.once(2);
    if (round.#hasState) {
      fs.cpSync(world.template.path("state"), round.path("state"), { recursive: true });
    }
    const phases = 1 + (round.once(4) ? 1 : 0);
    for (let phase = 0; phase < phases; phase++) {
      await round.#attack();
      for (let i = 0; i < 4; i++) await pickWeighted(COMMANDS, round.draw).act(round);
    }
    await round.victim.end();
    return round;
  }

  /** All that were ever made, oldest first. */
  points(project: ProjectName, volume: string): Point[] {
    const made = this.made.filter((point) => point.project === project && point.volume === volume);
    return [...this.template.pointsOf(project, volume), ...made];
  }

  /** Whether the host knows from before what should be there. */
  get hostRemembers(): boolean {
    return this.#hasState && !this.#attacker.renamedRepository;
  }

  /** Whether only the project's holder can have made what is in it. */
  isSealed(project: ProjectName): boolean {
    return SEALED.includes(project) && !this.remade.has(project);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.draw(from.length)]!;
  }

  once(times: number): boolean {
    return this.draw(times) === 0;
  }

  path(name: string): string {
    return path.join(this.#folder, name);
  }

  /** Runs a command and judges what holds of every one. */
  async varve(args: readonly string[], call: VarveCall = {}): Promise<Ran> {
    const { secret, stdin, output = args.includes("--json") ? "json" : "text", mayWait } = call;
    const all = [...args, ...(secret === undefined ? [] : this.template.secretOf(secret))];
    const ran = await run(all, {
      env: this.#env(),
      cwd: this.path("home"),
      stdin,
      askAfterMs: this.#askAfterMs(mayWait),
    });
    this.codes.push(ran.code);
    const error = ran.stderr.trimEnd().split("\n").at(-1)!;
    this.#trace(`  varve ${all.join(" ")}: ${ran.code ?? ran.signal} ${error.slice(0, 300)}`);
    for (const violation of [...judge(ran, output), ...this.#judgeBeside()]) this.fail(all, violation);
    return ran;
  }

  fail(args: readonly string[], violation: string): void {
    this.#trace(`  DOES NOT HOLD: ${violation}`);
    this.violations.push(`varve ${args.join(" ")}: ${violation}`);
  }

  /** What the program was told of: where the repository is, and folders of its own. */
  #env(): Record<string, string> {
    const own = {
      HOME: "home",
      XDG_DATA_HOME: "data",
      XDG_CACHE_HOME: "cache",
      XDG_STATE_HOME: "state",
      TMPDIR: "../tmp",
    };
    const paths = Object.entries(own).map(([name, folder]) => [name, this.path(folder)]);
    return {
      ...this.victim.env,
      VARVE_REPO: this.victim.url,
      VARVE_RETRY_FOR: "5s",
      ...Object.fromEntries(paths),
    };
  }

  #askAfterMs(mayWait = false): number | undefined {
    if (this.once(ASKED_ONE_IN)) return this.draw(200);
    return mayWait || this.#attacker.plantedGiant ? ASKED_AFTER_MS : undefined;
  }

  async #attack(): Promise<void> {
    const forges = this.focus === OPEN_PROJECT || this.once(8);
    const isPossible = ({ onFiles, forges: needsKey }: Attack) =>
      (onFiles !== true || this.victim.folder !== undefined) && (needsKey !== true || forges);
    const attacks = Object.fromEntries(Object.entries(ATTACKS).filter(([, attack]) => isPossible(attack)));
    for (let left = 1 + this.draw(6); left > 0; left--) {
      this.#trace(` ${await pickWeighted<Attack>(attacks, this.draw).act(this.#attacker)}`);
    }
    this.#beside = this.#lookBeside();
  }

  #lookBeside(): Map<string, string> {
    return lookAt(this.#folder, OWN);
  }

  #judgeBeside(): string[] {
    const now = this.#lookBeside();
    const changes = [...differences(this.#beside, now)];
    this.#beside = now;
    return changes;
  }
}

async function prepare({ template, folder, server }: World, seed: number): Promise<Victim> {
  const root = path.join(folder, "round");
  fs.rmSync(root, { recursive: true, force: true });
  for (const name of ["home", "data", "targets", "state", "cache"]) {
    fs.mkdirSync(path.join(root, name), { recursive: true });
  }
  makeCanary(path.join(root, "canary"));
  await copy(template.path("second"), path.join(root, "second"));
  if (server === undefined) {
    await copy(template.path("repository"), path.join(root, "repository"));
    return new DirectoryVictim(path.join(root, "repository"));
  }
  const victim = new BucketVictim(server, `round-${seed}`);
  await victim.fill(template.objects);
  return victim;
}

/** With times and modes. */
async function copy(from: string, to: string): Promise<void> {
  const child = Bun.spawn(["cp", "-a", from, to], { stderr: "inherit" });
  if (await child.exited !== 0) throw new Error(`Cannot copy "${from}"`);
}

export function pickWeighted<T extends { weight: number }>(
  from: Readonly<Record<string, T>>,
  draw: (limit: number) => number,
): T {
  const all = Object.values(from);
  let left = draw(all.reduce((sum, { weight }) => sum + weight, 0));
  return all.find(({ weight }) => (left -= weight) < 0)!;
}
