/** The leases of a project as a collector sees them: who lives, who is dead, and what is taken of one that cannot be read. */
import { describe, expect, test } from "bun:test";
import { LEASES_PREFIX } from "../../../src/format/layout.ts";
import { LEASE_DEAD_MS } from "../../../src/project/sharing/lease.ts";
import {
  buryLeases,
  livingLeases,
  mayReferToChunks,
  oldestStart,
  type SeenLease,
  surveyLeases,
} from "../../../src/project/sharing/leases.ts";
import { flipStored } from "../../kit/damage.ts";
import { testContext } from "../../kit/engine.ts";
import { beginLease, newProject } from "../../kit/project.ts";
import { bytes } from "../../kit/store_contract.ts";

const context = testContext();

describe("livingLeases()", () => {
  test("has the work that runs, until it ends", async () => {
    const { project } = await newProject();
    const lease = await beginLease(project, "backup");
    const [seen] = await livingLeases(project, context);
    expect(seen).toMatchObject({ id: lease.idHex, work: "backup", volume: "*", pid: process.pid });
    await lease.end();
    expect(await livingLeases(project, context)).toEqual([]);
  });

  test("takes a lease that cannot be read for any work, and says why", async () => {
    const { project, store } = await newProject();
    const lease = await beginLease(project);
    await flipStored(store, project.objectKey(LEASES_PREFIX + lease.idHex), (length) => length - 5);
    const [seen] = await livingLeases(project, context);
    expect(seen).toMatchObject({ id: lease.idHex, work: "unknown", started_ms: null });
    expect(seen!.problem).toContain(lease.idHex);
    expect(mayReferToChunks(seen!)).toBe(true);
    await lease.end();
  });

  test("passes over what is no lease by its name", async () => {
    const { project, store } = await newProject();
    await store.put(project.objectKey("leases/stray"), bytes("x"));
    expect(await livingLeases(project, context)).toEqual([]);
  });

  test("has a lease that only one of two listings shows", async () => {
    let listings = 0;
    const { project } = await newProject({
      before: ({ op }) => void (op === "list" && listings++),
      hide: (key) => key.includes("/leases/") && listings === 1,
    });
    const lease = await beginLease(project);
    listings = 0;
    expect(await livingLeases(project, context)).toHaveLength(1);
    await lease.end();
  });
});

describe("surveyLeases() and buryLeases()", () => {
  test("a lease is dead once it was not refreshed for a day, and gone once it is buried", async () => {
    const { project, store } = await newProject();
    const dead = await beginLease(project, "backup");
    const own = await beginLease(project);
    const [name, ownName] = [LEASES_PREFIX + dead.idHex, LEASES_PREFIX + own.idHex];
    const { modifiedMs } = (await store.head(project.objectKey(name)))!;
    // Exactly a day is not enough.
    expect((await surveyLeases(project, modifiedMs + LEASE_DEAD_MS, context)).dead).toEqual([]);
    const survey = await surveyLeases(project, modifiedMs + LEASE_DEAD_MS + 1, context);
    expect(survey.dead).toEqual([name]);
    expect(survey.living.map(({ id }) => LEASES_PREFIX + id)).toEqual([ownName]);
    expect(await buryLeases(project, { survey, lease: own }, context)).toBe(1);
    expect(await store.head(project.objectKey(name))).toBeUndefined();
  });

  test("a dead lease that cannot be removed is among the living", async () => {
    const { project, store } = await newProject({ refuse: (key) => key.includes("/leases/") });
    const dead = await beginLease(project, "backup");
    const own = await beginLease(project);
    const { modifiedMs } = (await store.head(project.objectKey(LEASES_PREFIX + dead.idHex)))!;
    const survey = await surveyLeases(project, modifiedMs + LEASE_DEAD_MS + 1, context);
    expect(await buryLeases(project, { survey, lease: own }, context)).toBe(0);
    expect(survey.living.find(({ id }) => id === dead.idHex)).toMatchObject({ work: "unknown" });
  });
});

test("oldestStart() is when the oldest work began that may refer to chunks", () => {
  const seen = (work: SeenLease["work"], started_ms: number | null, refreshedMs = 0) =>
    ({ work, started_ms, refreshedMs }) as SeenLease;
  expect(oldestStart([])).toBe(Infinity);
  expect(oldestStart([seen("gc", 1)])).toBe(Infinity);
  expect(oldestStart([seen("gc", 1), seen("backup", 9), seen("restore", 5)])).toBe(5);
  // Of one whose start is not known, the last refresh counts.
  expect(oldestStart([seen("backup", 9), seen("unknown", null, 7)])).toBe(7);
});
