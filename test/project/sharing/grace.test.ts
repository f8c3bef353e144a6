import { describe, expect, test } from "bun:test";
import { GRACE_MS, withGrace } from "../../../src/project/sharing/grace.ts";
import { InterruptedError } from "../../../src/errors.ts";
import { testContext } from "../../kit/engine.ts";

/** A context whose clock stands until `passed` is called, and work that waits until it is told to end. */
function grace() {
  const controller = new AbortController();
  const asked: number[] = [];
  const { promise: pass, resolve: passed } = Promise.withResolvers<void>();
  const sleep = async (ms: number) => {
    asked.push(ms);
    await pass;
  };
  const context = testContext({ signal: controller.signal, clock: { now: () => 0, sleep } });
  const hanging = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  return { context, controller, asked, passed, hanging };
}

describe("withGrace()", () => {
  test("lets the work take any time when nothing was interrupted", async () => {
    const { context, asked } = grace();
    expect(await withGrace(context, (signal) => Promise.resolve(signal.aborted))).toBe(false);
    expect(asked).toEqual([]);
  });

  test.each(["before", "meanwhile"])(
    "ends the work after the time of grace when it was interrupted %s",
    async (when) => {
      const { context, controller, asked, passed, hanging } = grace();
      const reason = new InterruptedError();
      if (when === "before") controller.abort(reason);
      const ended = withGrace(context, hanging).catch((error) => error);
      if (when === "meanwhile") controller.abort(reason);
      expect(asked).toEqual([GRACE_MS]);
      passed();
      expect(await ended).toBe(reason);
    },
  );

  test("lets the work end well when it was interrupted and takes less than that", async () => {
    const { context, controller } = grace();
    controller.abort(new InterruptedError());
    expect(await withGrace(context, () => Promise.resolve("done"))).toBe("done");
  });
});
