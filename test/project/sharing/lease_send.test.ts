/** Requests that must not arrive once the lease has ended: `Lease.send`. docs/gc.md, "Terms". */
import { describe, expect, test } from "bun:test";
import type { Context } from "../../../src/context.ts";
import { Lease, LEASE_TRUST_MS } from "../../../src/project/sharing/lease.ts";
import { openProject } from "../../../src/project/open_project.ts";
import { StoreError } from "../../../src/errors.ts";
import { errorOf, keysOf, LEASES, newRepository, newStore, PROJECT, testContext } from "../../kit/engine.ts";

/** A lease, and a clock that goes on by hand. */
async function setUp() {
  let nowMs = 0;
  const clock: Context["clock"] = { ...testContext().clock, now: () => nowMs };
  const context = testContext({ clock });
  const inner = newStore();
  const repository = await newRepository(inner);
  const project = await openProject(repository, { name: PROJECT, secrets: [] }, context);
  const lease = await Lease.begin(project, { work: "gc", volume: PROJECT }, context);
  /** Ends it and says whether it is still there. */
  const stays = async () => {
    await lease.end();
    return (await keysOf(inner, LEASES)).length === 1;
  };
  return { lease, stays, passMs: (ms: number) => nowMs += ms };
}

const fails = (retryable: boolean) => async () => {
  throw new StoreError("Cannot delete", { retryable });
};

describe("Lease.send()", () => {
  test("returns what the request gives, and the lease ends with its work when one attempt was enough", async () => {
    const { lease, stays } = await setUp();
    expect(await lease.send(async () => 7)).toBe(7);
    expect(await stays()).toBe(false);
  });

  test("lets the lease outlive its work when an earlier attempt may still be under way", async () => {
    const { lease, stays } = await setUp();
    await lease.send(async ({ beforeRetry }) => await beforeRetry!());
    expect(await stays()).toBe(true);
  });

  test("lets the lease outlive its work when the request failed for a reason that may pass", async () => {
    const { lease, stays } = await setUp();
    expect((await errorOf(lease.send(fails(true)))).message).toBe("Cannot delete");
    expect(await stays()).toBe(true);
  });

  test("lets the lease end with its work when the store refused the request", async () => {
    const { lease, stays } = await setUp();
    await errorOf(lease.send(fails(false)));
    expect(await stays()).toBe(false);
  });

  test("sends nothing when the lease may be dead, not again either", async () => {
    const { lease, passMs } = await setUp();
    let sent = 0;
    const error = await errorOf(lease.send(async ({ beforeRetry }) => {
      sent++;
      passMs(LEASE_TRUST_MS);
      await beforeRetry!();
      sent++;
    }));
    expect(error.code).toBe("conflict");
    expect((await errorOf(lease.send(async () => void sent++))).code).toBe("conflict");
    expect(sent).toBe(1);
  });
});
