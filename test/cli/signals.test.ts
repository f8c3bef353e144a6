import { expect, test } from "bun:test";
import { EventEmitter } from "node:events";
import { watchSignals } from "../../src/cli/signals.ts";
import { InterruptedError } from "../../src/errors.ts";
import type { EndingSignal } from "../../src/os/signals.ts";

function setUp(ignored: EndingSignal[] = []) {
  const emitter = new EventEmitter();
  const timers: { run: () => void; ms: number }[] = [];
  const exits: true[] = [];
  const signal = watchSignals({
    emitter,
    exit: () => void exits.push(true),
    setTimer: (run, ms) => void timers.push({ run, ms }),
    ignored,
  });
  return { emitter, timers, exits, signal };
}

test("watchSignals() aborts when the first signal comes, whichever it is", () => {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    const { emitter, exits, signal } = setUp();
    expect(signal.aborted).toBe(false);
    emitter.emit(name);
    expect(signal.reason).toBeInstanceOf(InterruptedError);
    expect(exits).toEqual([]);
  }
});

test("watchSignals() exits when a second signal comes", () => {
  const { emitter, exits } = setUp();
  emitter.emit("SIGINT");
  emitter.emit("SIGTERM");
  expect(exits).toEqual([true]);
});

test("watchSignals() exits after two seconds when the command has not ended", () => {
  const { emitter, timers, exits } = setUp();
  expect(timers).toEqual([]);
  emitter.emit("SIGINT");
  expect(timers.map(({ ms }) => ms)).toEqual([2000]);
  timers[0]!.run();
  expect(exits).toEqual([true]);
});

test("watchSignals() does not hear of a signal that was ignored when the process began", () => {
  const { emitter, signal } = setUp(["SIGHUP", "SIGINT"]);
  emitter.emit("SIGHUP");
  emitter.emit("SIGINT");
  expect(signal.aborted).toBe(false);
  emitter.emit("SIGTERM");
  expect(signal.aborted).toBe(true);
});
