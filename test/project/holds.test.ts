/** Holds: which points have one, and that neither damage nor a short listing lets one go. */
import { describe, expect, test } from "bun:test";
import { holdName } from "../../src/format/layout.ts";
import { Holds, readHold, writeHold } from "../../src/project/holds.ts";
import { flipStored } from "../kit/damage.ts";
import { errorOf, testContext } from "../kit/engine.ts";
import { newProject } from "../kit/project.ts";

const POINT = { volume: "rbd/vm-1", backup: "20261121T213259123Z-1a2b3c4d" };
const OTHER = { volume: "rbd/vm-2", backup: "20261121T213259123Z-5e6f7a8b" };
const context = testContext();

describe("Holds", () => {
  test("has the points that are held, of the project or of one volume", async () => {
    const { project } = await newProject();
    await writeHold(project, { ...POINT, reason: "audit" }, context);
    for (const volume of [undefined, POINT.volume]) {
      const holds = await Holds.read(project, volume, context);
      expect([holds.has(POINT), holds.has(OTHER)]).toEqual([true, false]);
    }
    expect((await Holds.read(project, OTHER.volume, context)).has(POINT)).toBe(false);
  });

  test("has a hold that is damaged", async () => {
    const { project, store } = await newProject();
    await writeHold(project, { ...POINT, reason: null }, context);
    await flipStored(store, project.objectKey(holdName(POINT.volume, POINT.backup)), (length) => length - 5);
    expect((await Holds.read(project, undefined, context)).has(POINT)).toBe(true);
    expect(await errorOf(readHold(project, POINT, context))).toMatchObject({ code: "damage" });
  });

  test("has by two listings what only one of them shows", async () => {
    let listings = 0;
    const { project, store } = await newProject({
      before: ({ op }) => void (op === "list" && listings++),
      hide: () => listings === 1,
    });
    await writeHold(project, { ...POINT, reason: null }, context);
    expect((await Holds.readTwice(project, undefined, context)).has(POINT)).toBe(true);
    expect(store.keys("list")).toHaveLength(2);
  });
});

describe("readHold()", () => {
  test("gives what was written, and nothing where there is no hold", async () => {
    const { project } = await newProject();
    await writeHold(project, { ...POINT, reason: "audit 2026" }, context);
    expect(await readHold(project, POINT, context)).toMatchObject({ reason: "audit 2026" });
    expect(await readHold(project, OTHER, context)).toBeUndefined();
  });

  test("writeHold() refuses a reason that nobody would read back", async () => {
    const { project, store } = await newProject();
    const error = await errorOf(writeHold(project, { ...POINT, reason: "x".repeat(1001) }, context));
    expect(error.code).toBe("failed");
    expect(store.keys("put")).toEqual([]);
  });
});
