/** What a gc says that it did, or would do. */
import { expect, test } from "bun:test";
import { emptyReport, type GcReport } from "../../../src/engine/gc/gc_report.ts";
import { gcLines } from "../../../src/cli/commands/gc_text.ts";

const MIB = 1 << 20;
const WORK = {
  ...{ lease: "1a", work: "backup", volume: "vm\u001b", host: "node1", pid: 12 },
  ...{ since: "2026-11-28T02:15:00.000Z", until: "2026-11-29T02:20:00.000Z" },
};

function lines(changes: Partial<GcReport>, dryRun = false): string[] {
  return gcLines(
    { ...emptyReport("acme"), objects: 40, objects_bytes: 10 * MIB, duration_s: 61, ...changes },
    dryRun,
  );
}

test("where there is no garbage, there is nothing to delete", () => {
  expect(lines({})).toEqual(["acme: nothing to delete, 10.0 MiB in use (1:01)"]);
  expect(lines({}, true)).toEqual(["acme: nothing to delete, 10.0 MiB in use"]);
  expect(lines({ deleted: 3, spared: 1 })).toEqual([
    "acme: nothing more to delete, 10.0 MiB in use (1:01)",
    "  3 deleted",
    "  1 kept, a restore point needs them again",
  ]);
});

test("each object that no restore point needs is in one line", () => {
  const found = { garbage: 12, garbage_bytes: 4 * MIB, condemned: 5, young: 3 };
  const rest = [
    "  4 condemned before",
    "  3 too new to be condemned",
    "  what was written since the backup of vm\\x1b on node1 (process 12) began stays",
  ];
  const head = "acme: 12 objects are needed by no restore point (4.00 MiB), 6.00 MiB in use";
  expect(lines({ ...found, running: [WORK] })).toEqual([
    `${head} (1:01)`,
    "  5 condemned for deletion",
    ...rest,
  ]);
  expect(lines({ ...found, running: [WORK] }, true)).toEqual([
    head,
    "  5 would be condemned for deletion",
    ...rest,
  ]);
});

test("what waits is said with when it ends", () => {
  const plan = {
    ...{ plan: "1a", made: "2026-11-28T03:00:00.000Z", sweep_after: "2026-11-29T03:00:00.000Z" },
    waits: [WORK, { ...WORK, since: null }],
  };
  const until = "has ended; if that has died, at 2026-11-29 02:20Z";
  const running = "  once the backup of vm\\x1b on node1 (process 12), started";
  expect(lines({ plans_waiting: [plan, { ...plan, made: null, sweep_after: null, waits: [] }] }).slice(1))
    .toEqual([
      "  what was condemned at 2026-11-28 03:00Z is deleted by the first gc after 2026-11-29 03:00Z",
      `  ${running} 2026-11-28 02:15Z, ${until}`,
      `  ${running} just now, ${until}`,
      "  another gc is condemning objects now; they are deleted later",
    ]);
});
