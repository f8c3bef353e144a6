/** What a forget writes down, and what of it others read. */
import { describe, expect, test } from "bun:test";
import { forgottenRecords, readForgotten, recordForgotten } from "../../src/project/forgotten.ts";
import { forgottenName } from "../../src/format/layout.ts";
import { flipStored } from "../kit/damage.ts";
import { errorOf, testContext } from "../kit/engine.ts";
import { newProject } from "../kit/project.ts";

const [FIRST, SECOND] = ["1a".repeat(16), "2b".repeat(16)];
const NAMES = ["volumes/vm/20261121T213259123Z-1a2b3c4d", "volumes/vm/20261122T213259123Z-1a2b3c4d"];

describe("recordForgotten()", () => {
  test("is read back by name, lease and the store's time", async () => {
    const { project, store } = await newProject();
    await recordForgotten(project, { names: NAMES, lease: FIRST }, {});
    await recordForgotten(project, { names: [NAMES[0]!], lease: SECOND }, {});
    const records = await forgottenRecords(project, testContext());
    const { modifiedMs } = (await store.head(project.objectKey(forgottenName(FIRST))))!;
    expect(records[0]).toEqual({ name: forgottenName(FIRST), names: NAMES, writtenMs: modifiedMs });
    expect(records[1]?.names).toEqual([NAMES[0]!]);
    expect(await readForgotten(project, testContext())).toEqual(new Set(NAMES));
  });

  test("takes no names for none", async () => {
    const { project } = await newProject();
    expect(await readForgotten(project, testContext())).toEqual(new Set());
    await recordForgotten(project, { names: [], lease: FIRST }, {});
    expect(await readForgotten(project, testContext())).toEqual(new Set());
  });

  test("fails when the store does not have the record after its write", async () => {
    const { project, store } = await newProject();
    store.put = async () => {}; // it says that it has it
    expect(await errorOf(recordForgotten(project, { names: NAMES, lease: FIRST }, {}))).toMatchObject({
      name: "StoreError",
      retryable: false,
    });
  });
});

test("forgottenRecords() has a record that is damaged, without names", async () => {
  const { project, store } = await newProject();
  await recordForgotten(project, { names: NAMES, lease: FIRST }, {});
  await recordForgotten(project, { names: [NAMES[1]!], lease: SECOND }, {});
  await flipStored(store, project.objectKey(forgottenName(FIRST)), (length) => length - 5);
  const records = await forgottenRecords(project, testContext());
  expect(records.map(({ names }) => names)).toEqual([[], [NAMES[1]!]]);
});
