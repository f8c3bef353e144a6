import { expect, test } from "bun:test";
import { assertStored } from "../../src/project/stored.ts";
import { errorOf } from "../kit/engine.ts";
import { newProject } from "../kit/project.ts";
import { bytes } from "../kit/store_contract.ts";

test("assertStored() throws unless the store has the object", async () => {
  const { project, store } = await newProject();
  expect(await errorOf(assertStored(project, "holds/x", {}))).toMatchObject({
    code: "failed",
    retryable: false,
  });
  await store.put(project.objectKey("holds/x"), bytes("x"));
  await assertStored(project, "holds/x", {});
});
