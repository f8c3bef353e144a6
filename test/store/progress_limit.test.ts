/** A time limit that runs only while nothing moves, with timers that the test fires itself. */
import { describe, expect, test } from "bun:test";
import { InterruptedError } from "../../src/errors.ts";
import { withProgressLimit } from "../../src/store/progress_limit.ts";
import { rejection } from "../kit/rejection.ts";

type ProgressLimit = Parameters<typeof withProgressLimit>[0];
type Progress = Parameters<Parameters<typeof withProgressLimit>[1]>[0];

const LATE = new Error("no progress");

function timers() {
  const running: (() => void)[] = [];
  const started: number[] = [];
  const limit: ProgressLimit = {
    limitMs: 100,
    onLimit: () => LATE,
    startTimer: (callback, delayMs) => {
      started.push(delayMs);
      running.push(callback);
      return () => void running.splice(running.indexOf(callback), 1);
    },
  };
  return { running, started, limit, fire: () => running.splice(0).forEach((callback) => callback()) };
}

function forever(_: Progress): Promise<never> {
  return new Promise(() => {});
}

describe("withProgressLimit()", () => {
  test("settles as the work does, and leaves no timer behind", async () => {
    const { running, limit } = timers();
    expect(await withProgressLimit(limit, () => Promise.resolve(7))).toBe(7);
    const error = new Error("broken");
    expect(await rejection(withProgressLimit(limit, () => Promise.reject(error)))).toBe(error);
    expect(running).toEqual([]);
  });

  test("rejects at the limit, also where the work does not heed its signal", async () => {
    const { fire, limit } = timers();
    let signal: AbortSignal | undefined;
    const ended = rejection(withProgressLimit(limit, (progress) => {
      signal = progress.signal;
      return forever(progress);
    }));
    fire();
    expect(await ended).toBe(LATE);
    expect(signal?.reason).toBe(LATE);
  });

  test("starts the limit anew whenever something has moved", async () => {
    const { running, started, limit, fire } = timers();
    let progress: Progress | undefined;
    const ended = rejection(withProgressLimit(limit, (given) => {
      progress = given;
      return forever(given);
    }));
    for (let i = 0; i < 3; i++) progress!.moved();
    expect({ started, running: running.length }).toEqual({ started: [100, 100, 100, 100], running: 1 });
    fire();
    expect(await ended).toBe(LATE);
  });

  test("rejects with the caller's reason as soon as the caller aborts", async () => {
    const { running, limit } = timers();
    const controller = new AbortController();
    const ended = rejection(withProgressLimit({ ...limit, signal: controller.signal }, forever));
    const reason = new InterruptedError();
    controller.abort(reason);
    expect(await ended).toBe(reason);
    expect(running).toEqual([]);
  });

  test("does not begin the work of a caller that has aborted before", async () => {
    const { started, limit } = timers();
    const reason = new InterruptedError();
    let isBegun = false;
    const work = async () => void (isBegun = true);
    expect(await rejection(withProgressLimit({ ...limit, signal: AbortSignal.abort(reason) }, work))).toBe(
      reason,
    );
    expect({ isBegun, started }).toEqual({ isBegun: false, started: [] });
  });
});
