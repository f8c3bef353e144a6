/** Marks of objects that were found broken: whatever has a mark's name is one, until it is released. */
import { describe, expect, test } from "bun:test";
import { markName } from "../../../src/format/layout.ts";
import {
  quarantine,
  QuarantinedObjects,
  releaseQuarantined,
} from "../../../src/project/sharing/quarantine.ts";
import { flipStored } from "../../kit/damage.ts";
import { testContext } from "../../kit/engine.ts";
import { newProject } from "../../kit/project.ts";
import { bytes } from "../../kit/store_contract.ts";
import { refused } from "../../kit/faulty_store.ts";

const context = testContext();
const REF = { id: new Uint8Array(32).fill(7), lease: undefined };
const OTHER = { id: new Uint8Array(32).fill(7), lease: new Uint8Array(16).fill(1) };
const ABOUT = { found: "damaged", reason: "it is cut", at: "2026-11-21T21:32:59.123Z" } as const;

describe("QuarantinedObjects", () => {
  test("has the object that was marked, and none of another lease", async () => {
    const { project } = await newProject();
    expect((await QuarantinedObjects.read(project, context)).none).toBe(true);
    await quarantine(project, { ref: REF, ...ABOUT }, context);
    const marked = await QuarantinedObjects.read(project, context);
    expect({ none: marked.none, size: marked.size }).toEqual({ none: false, size: 1 });
    expect([marked.has(REF), marked.has(OTHER)]).toEqual([true, false]);
    expect([...marked.refs()]).toEqual([REF]);
  });

  test("has a mark that is damaged, and passes over other names", async () => {
    const { project, store } = await newProject();
    await quarantine(project, { ref: OTHER, ...ABOUT }, context);
    await flipStored(store, project.objectKey(markName(OTHER)), (length) => length - 5);
    await store.put(project.objectKey("marked/stray"), bytes("x"));
    const marked = await QuarantinedObjects.read(project, context);
    expect([marked.size, marked.has(OTHER)]).toEqual([1, true]);
  });
});

describe("releaseQuarantined()", () => {
  test("removes the marks and says how many", async () => {
    const { project } = await newProject();
    await quarantine(project, { ref: REF, ...ABOUT }, context);
    await quarantine(project, { ref: OTHER, ...ABOUT }, context);
    expect(await releaseQuarantined(project, [], context)).toBe(0);
    expect(await releaseQuarantined(project, [REF], context)).toBe(1);
    expect([...(await QuarantinedObjects.read(project, context)).refs()]).toEqual([OTHER]);
  });

  test("leaves marks whose removal is refused, and is no failure", async () => {
    const locked = await newProject({ refuse: () => true });
    await quarantine(locked.project, { ref: REF, ...ABOUT }, context);
    expect(await releaseQuarantined(locked.project, [REF], context)).toBe(0);
    const forbidden = await newProject({
      before: ({ op }) => {
        if (op === "delete") throw refused();
      },
    });
    await quarantine(forbidden.project, { ref: REF, ...ABOUT }, context);
    expect(await releaseQuarantined(forbidden.project, [REF], context)).toBe(0);
    expect((await QuarantinedObjects.read(forbidden.project, context)).has(REF)).toBe(true);
  });
});
