import { expect, test } from "bun:test";
import { EventEmitter } from "node:events";
import { watchSignals } from "../../src/cli/signals.ts";
import { DEAF_LIMIT_MS, LIMIT_MS, Patience } from "../../src/cli/watchdog.ts";
import { InterruptedError } from "../../src/errors.ts";
import { CaughtOnce, type EndingSignal, ignoredSignals, wasCaught } from "../../src/os/signals.ts";

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

test("ignoredSignals() names what the process was started to ignore", async () => {
  const module = JSON.stringify(`${import.meta.dirname}/../../src/os/signals.ts`);
  const program = `import(${module}).then((m) => console.log(m.ignoredSignals().join()))`;
  const ignoring = (
    names: string,
  ) => ["sh", "-c", `trap "" ${names}; "$0" -e '${program}'`, process.execPath];
  for (
    const [names, expected] of [["HUP INT QUIT", "SIGHUP,SIGINT,SIGQUIT"], ["TERM", "SIGTERM"], ["USR1", ""]]
  ) {
    const child = Bun.spawn(ignoring(names!), { stdout: "pipe" });
    expect((await new Response(child.stdout).text()).trim()).toBe(expected!);
  }
  expect(ignoredSignals()).toEqual([]);
});

test("a CaughtOnce is caught by its handler once, and again after it was set again", async () => {
  let count = 0;
  const onSignal = () => void count++;
  process.on("SIGHUP", onSignal);
  const once = new CaughtOnce("SIGHUP");
  for (const round of [1, 2, 3]) {
    expect(wasCaught("SIGHUP")).toBe(false);
    process.kill(process.pid, "SIGHUP");
    while (count < round) await Bun.sleep(1); // until it is so
    expect(wasCaught("SIGHUP")).toBe(true);
    once.set();
  }
  process.off("SIGHUP", onSignal);
});

test("Patience is over some time after a signal that the main thread does not end by, and soon after a second", () => {
  const patience = (looks: [nowMs: number, heard: number, isUnheard: boolean][]) => {
    const one = new Patience();
    return looks.map(([nowMs, heard, isUnheard]) => one.isOver({ nowMs, heard, isUnheard }));
  };
  // Nothing came; one came that nobody heard of; one that was heard of.
  expect(patience([[0, 0, false], [9_000, 0, false]])).toEqual([false, false]);
  expect(patience([[0, 0, true], [DEAF_LIMIT_MS - 1, 0, true], [DEAF_LIMIT_MS, 0, true]]))
    .toEqual([false, false, true]);
  expect(patience([[0, 0, true], [200, 1, false], [LIMIT_MS - 1, 1, false]])).not.toContain(true);
  expect(patience([[0, 1, false], [LIMIT_MS - 1, 1, false], [LIMIT_MS, 1, false]])).toEqual([
    false,
    false,
    true,
  ]);
  // A second one, which the main thread hears of in time, or does not.
  expect(patience([[0, 1, false], [200, 1, true], [400, 2, false], [900, 2, false]])).not.toContain(true);
  expect(patience([[0, 1, false], [200, 1, true], [600, 1, true]])).toEqual([false, false, true]);
});
