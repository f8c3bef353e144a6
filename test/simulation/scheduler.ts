/**
 * Virtual time, and the order of everything that happens: each request, each reply and each waking from a sleep is a step,
 * and a seeded choice says which comes next. Processes crash and stand still between a reply and what their code does next.
 */
import type { random } from "../helpers/random.ts";

export type Random = ReturnType<typeof random>;

export const HOUR_MS = 3600_000;
export const DAY_MS = 24 * HOUR_MS;
/** A run that needs more steps than this hangs. */
const MAX_STEPS = 200_000;
/** Time goes on by less than this with each step. */
const STEP_MS = 20;
/** What is under way when its process crashes may still arrive for this long; the protocol's assumption is 12 hours. */
export const UNDER_WAY_MS = 11 * HOUR_MS;

export interface Chances {
  /** Of a hundred steps, those after which another process goes on. */
  switchPercent: number;
  /** Of 10,000 replies, those at which the process crashes, and those at which it stands still. */
  crash: number;
  stall: number;
}

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
  readonly stop = new AbortController();
  isAlive = true;
  /** How long it stood still altogether. */
  stalledMs = 0;
  isStalled = false;
  readonly #died = Promise.withResolvers<void>();

  constructor(name: string, clockOffsetMs: number) {
    this.name = name;
    this.clockOffsetMs = clockOffsetMs;
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

  /** Whether something happens that has a chance of so many in 10,000. */
  happens(chance: number): boolean {
    return chance > 0 && this.random(10_000) < chance;
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
      const step = this.#next();
      if (step === undefined || isEnough()) return;
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
    return list === this.#requests ? () => this.#serve(step) : () => this.#tell(step);
  }

  #choose(): Process {
    const ready = new Set([...this.#requests, ...this.#replies].map(({ process }) => process));
    const stays = this.#current !== undefined && ready.has(this.#current) &&
      this.random(100) >= this.chances.switchPercent;
    if (!stays) this.#current = [...ready][this.random(ready.size)]!;
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
    if (this.happens(this.chances.crash)) return this.crash(process, label);
    if (this.happens(this.chances.stall)) return this.#stall(process, step);
    this.note(process, label);
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

  #stall(process: Process, step: Step): void {
    const stallMs = [HOUR_MS, 13 * HOUR_MS, 2 * DAY_MS][this.random(3)]! + this.random(HOUR_MS);
    this.note(process, `stands still for ${Math.round(stallMs / HOUR_MS)} h before: ${step.label}`);
    process.isStalled = true;
    process.stalledMs += stallMs;
    const isMine = (other: Step) => other.process === process;
    this.#held.push(step, ...this.#replies.filter(isMine));
    this.#replies = this.#replies.filter((other) => !isMine(other));
    this.later(stallMs, () => {
      process.isStalled = false;
      this.#replies.push(...this.#held.filter(isMine).filter(() => process.isAlive));
      this.#held = this.#held.filter((other) => !isMine(other));
    });
  }
}
