/**
 * Virtual time, and the order of everything that happens: each request, each reply and each waking from a sleep is a step,
 * and a seeded choice says which comes next. Processes crash and stand still between a reply and what their code does next.
 */
import { InterruptedError } from "../../src/errors.ts";
import { random } from "../kit/random.ts";

export type Random = ReturnType<typeof random>;

export const HOUR_MS = 3600_000;
export const DAY_MS = 24 * HOUR_MS;
/** A run that needs more steps than this hangs. */
const MAX_STEPS = 200_000;
/** Time goes on by less than this with each step. */
const STEP_MS = 20;
const STALLS_MS = [HOUR_MS, 13 * HOUR_MS, 2 * DAY_MS, 2 * DAY_MS, 7 * DAY_MS];
/** What is under way when its process crashes may still arrive for this long; the protocol's assumption is 12 hours. */
export const UNDER_WAY_MS = 11 * HOUR_MS;

export interface Chances {
  /**
   * Who goes on: with "priorities" the process of the highest one, until by chance it becomes the lowest; so a process
   * stands in the middle of its work while others do all of theirs.
   */
  order: "random" | "priorities";
  /** Of 10,000 steps, those after which another process goes on. */
  change: number;
  /** Of 10,000 replies, those at which the process crashes, stands still, or is interrupted by its operator. */
  crash: number;
  stall: number;
  interrupt: number;
}

/** What the protocol is made of: around these requests more happens than around others. */
export const DELICATE = /leases\/|gc\/|put |delete |wakes/;
const DELICATE_FACTOR = 5;

/** The answer behind which work sends what must not be late: nothing can be asked in between. docs/gc.md, "Assumptions". */
const LAST_LOOK = /^done: list \S+\/leases\/[0-9a-f]{32} after/;

/** An answer: a value, or an error. */
export type Heard = { value: unknown } | { error: unknown };

interface Step {
  label: string;
  process: Process;
  run(): void;
}

/** One process on a host: what it runs ends with its crash. */
export class Process {
  readonly name: string;
  /** How far the host's clock is off. */
  readonly clockOffsetMs: number;
  /** What the clocks of the host do while it stands still: one goes on, all stand still, or the wall clock is set back after. */
  clocks: "right" | "still" | "set back" = "right";
  readonly stop = new AbortController();
  /** Chosen by the scheduler. */
  priority: number | undefined;
  isAlive = true;
  isStalled = false;
  /** The store failed it at least once. */
  metFaults = false;
  /** Of which objects the store told it wrongly, when it last told of them. */
  readonly lies = new Set<string>();
  /** For how long it stood still, all together. */
  stalledMs = 0;
  stalledSinceMs: number | undefined;
  readonly #died = Promise.withResolvers<void>();
  readonly #seed: number;
  readonly #random: Random;
  /** Random bytes that it has asked for. */
  #drawn = 0;
  /** From so many on they are others: those that a process had asked for before it was put back it has again, and no more. */
  #others: { from: number; random: Random } | undefined;
  /** What it chose to do. */
  #choice: unknown;
  /** What it was told until now, by what it had asked for. */
  readonly #heard = new Map<string, Heard[]>();
  /** What it knows of already, for it was put back to a copy of its memory. */
  #memory = new Map<string, Heard[]>();

  constructor(name: string, { clockOffsetMs, seed }: { clockOffsetMs: number; seed: number }) {
    this.name = name;
    this.clockOffsetMs = clockOffsetMs;
    this.#seed = seed;
    this.#random = random(seed);
  }

  /** The same whenever a process with this seed asks for the first bytes, the next, and so on. */
  randomBytes(count: number): Uint8Array<ArrayBuffer> {
    const { from = Infinity, random } = this.#others ?? {};
    return Uint8Array.from({ length: count }, () => this.#drawn++ < from ? this.#random(256) : random!(256));
  }

  /** What it does is chosen once. */
  choose<T>(choice: () => T): T {
    this.#choice ??= choice();
    return this.#choice as T;
  }

  hears(label: string, heard: Heard): void {
    this.#heard.set(label, [...this.#heard.get(label) ?? [], heard]);
  }

  recalls(label: string): Heard | undefined {
    return this.#memory.get(label)?.shift();
  }

  /**
   * Its memory as it is now: a process that begins with it does what this one did, without asking anybody, and goes on from
   * here. No clock tells it that time has passed.
   */
  snapshot(): () => Process {
    const heard = [...this.#heard].map(([label, list]): [string, Heard[]] => [label, [...list]]);
    const drawn = this.#drawn;
    return () => {
      const { clockOffsetMs } = this;
      const process = new Process(`${this.name} put back`, { clockOffsetMs, seed: this.#seed });
      process.clocks = "still";
      process.#choice = this.#choice;
      process.#others = { from: drawn, random: random(this.#seed + 1) };
      process.#memory = new Map(heard.map(([label, list]) => [label, [...list]]));
      return process;
    };
  }

  /** Who works in calm, or stands still, is on the first one. */
  get host(): string {
    return /^h\d/.exec(this.name)?.[0] ?? "h0";
  }

  get died(): Promise<void> {
    return this.#died.promise;
  }

  die(): void {
    this.isAlive = false;
    this.#died.resolve();
  }
}

export class Scheduler {
  nowMs = Date.UTC(2026, 0, 1);
  readonly random: Random;
  /** May be changed while it runs. */
  chances: Chances;
  readonly #trace: ((line: string) => void) | undefined;
  /** What the network and the store do next, whatever becomes of the process. */
  #requests: Step[] = [];
  /** What processes are told next. */
  #replies: Step[] = [];
  /** For processes that stand still. */
  #held: Step[] = [];
  readonly #timed: { atMs: number; start(): void }[] = [];
  #current: Process | undefined;
  /** The label of the last step. */
  last = "";
  #lowest = 0;
  #steps = 0;

  constructor(
    random: Random,
    { chances, trace }: { chances: Chances; trace?: ((line: string) => void) | undefined },
  ) {
    this.random = random;
    this.chances = chances;
    this.#trace = trace;
  }

  get steps(): number {
    return this.#steps;
  }

  /** Whether something happens that has a chance of so many in 10,000, and more at what is delicate. */
  happens(chance: number, label: string): boolean {
    return chance > 0 && this.random(10_000) < chance * (DELICATE.test(label) ? DELICATE_FACTOR : 1);
  }

  note(process: Process | undefined, text: string): void {
    if (this.#trace === undefined) return;
    this.#trace(`${new Date(this.nowMs).toISOString().slice(5, 23)} ${process?.name ?? "-"} ${text}`);
  }

  request(process: Process, label: string, run: () => void): void {
    this.#requests.push({ label, process, run });
  }

  /** Tells the process something; where it does not crash or stand still first. */
  reply(process: Process, label: string, run: () => void): void {
    if (!process.isAlive) return;
    (process.isStalled ? this.#held : this.#replies).push({ label, process, run });
  }

  later(delayMs: number, start: () => void): void {
    const atMs = this.nowMs + delayMs;
    let at = this.#timed.length;
    while (at > 0 && this.#timed[at - 1]!.atMs <= atMs) at--;
    this.#timed.splice(at, 0, { atMs, start });
  }

  /** Runs until nothing is left to happen, or it is enough. */
  async run(isEnough: () => boolean = () => false): Promise<void> {
    for (;;) {
      // Everything that follows from the last step has been done before the next is chosen.
      await new Promise((resolve) => setImmediate(resolve));
      const step = isEnough() ? undefined : this.#next();
      if (step === undefined) return;
      if (++this.#steps > MAX_STEPS) throw new Error("the run does not end");
      this.nowMs += this.random(STEP_MS);
      step();
    }
  }

  #next(): (() => void) | undefined {
    const due = this.#timed.at(-1);
    const isIdle = this.#requests.length + this.#replies.length === 0;
    if (due !== undefined && (isIdle || due.atMs <= this.nowMs)) {
      this.#timed.pop();
      this.nowMs = Math.max(this.nowMs, due.atMs);
      return due.start;
    }
    if (isIdle) return undefined;
    const process = this.#choose();
    const list = this.#pickList(process);
    const mine = list.filter((step) => step.process === process);
    const step = mine[this.random(mine.length)]!;
    list.splice(list.indexOf(step), 1);
    this.last = step.label;
    return list === this.#requests ? () => this.#serve(step) : () => this.#tell(step);
  }

  #choose(): Process {
    const ready = [...new Set([...this.#requests, ...this.#replies].map(({ process }) => process))];
    for (const process of ready) process.priority ??= this.random(1000);
    const changes = this.happens(this.chances.change, this.last);
    const current = this.#current;
    if (this.chances.order === "priorities") {
      if (changes && current !== undefined) current.priority = --this.#lowest;
      this.#current = ready.reduce((a, b) => b.priority! > a.priority! ? b : a);
    } else if (changes || current === undefined || !ready.includes(current)) {
      this.#current = ready[this.random(ready.length)]!;
    }
    return this.#current!;
  }

  #pickList(process: Process): Step[] {
    const lists = [this.#requests, this.#replies].filter((list) =>
      list.some((step) => step.process === process)
    );
    return lists[this.random(lists.length)]!;
  }

  #serve({ process, label, run }: Step): void {
    this.note(process, label);
    run();
  }

  #tell(step: Step): void {
    const { process, label } = step;
    if (this.happens(this.chances.crash, label)) return this.crash(process, label);
    if (this.happens(this.chances.stall, label)) {
      const stallMs = STALLS_MS[this.random(STALLS_MS.length)]! + this.random(HOUR_MS);
      if (process.clocks === "right" || !LAST_LOOK.test(label)) {
        return this.#stall(process, { step, stallMs });
      }
    }
    this.note(process, label);
    if (this.happens(this.chances.interrupt, label)) {
      this.note(process, "is interrupted");
      process.stop.abort(new InterruptedError());
    }
    step.run();
  }

  /** The process is gone; what it has under way is lost or arrives later. */
  crash(process: Process, label: string): void {
    this.note(process, `crashes before: ${label}`);
    process.die();
    this.#replies = this.#replies.filter((step) => step.process !== process);
    const underWay = this.#requests.filter((step) => step.process === process);
    this.#requests = this.#requests.filter((step) => step.process !== process);
    for (const step of underWay) {
      if (this.random(2) === 0) continue;
      this.later(this.random(UNDER_WAY_MS), () => {
        this.note(process, `(late) ${step.label}`);
        step.run();
      });
    }
  }

  #stall(process: Process, { step, stallMs }: { step: Step; stallMs: number }): void {
    this.note(process, `stands still for ${Math.round(stallMs / HOUR_MS)} h before: ${step.label}`);
    this.#replies.push(step);
    this.freeze(process);
    this.later(stallMs, () => this.thaw(process));
  }

  /** The process is told nothing until it is thawed. */
  freeze(process: Process): void {
    process.isStalled = true;
    process.stalledSinceMs ??= this.nowMs;
    this.#held.push(...this.#replies.filter((step) => step.process === process));
    this.#replies = this.#replies.filter((step) => step.process !== process);
  }

  thaw(process: Process): void {
    process.isStalled = false;
    process.stalledMs += this.nowMs - (process.stalledSinceMs ?? this.nowMs);
    process.stalledSinceMs = undefined;
    this.#replies.push(...this.#held.filter((step) => step.process === process && process.isAlive));
    this.#held = this.#held.filter((step) => step.process !== process);
  }
}
