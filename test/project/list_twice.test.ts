/** Two listings side by side: what either shows is there, as fresh as either says. */
import { expect, test } from "bun:test";
import { listTwice } from "../../src/project/list_twice.ts";
import { bytes } from "../kit/store_contract.ts";
import { newProject } from "../kit/project.ts";

test("listTwice() has what either listing shows, once, ascending by name", async () => {
  const { project, store } = await newProject();
  for (const name of ["holds/b", "holds/a", "leases/x"]) {
    await store.put(project.objectKey(name), bytes(name));
  }
  const full = (await Array.fromAsync(store.list(project.objectKey("holds/")))).reverse();
  const listings = [full.slice(0, 1), full.slice(1).map((info) => ({ ...info, modifiedMs: 5 }))];
  store.list = async function* (prefix) {
    if (prefix === project.objectKey("holds/")) yield* listings.shift()!;
  };
  const listed = await listTwice(project, "holds/", {});
  expect(listed.map(({ name, modifiedMs }) => [name, modifiedMs])).toEqual([
    ["holds/a", 5],
    ["holds/b", full[0]!.modifiedMs],
  ]);
});

test("listTwice() takes the later of two times", async () => {
  const { project, store } = await newProject();
  await store.put(project.objectKey("holds/a"), bytes("x"));
  const [info] = await Array.fromAsync(store.list(project.objectKey("holds/")));
  const times = [7, 3];
  store.list = async function* (prefix) {
    if (prefix === project.objectKey("holds/")) yield { ...info!, modifiedMs: times.shift()! };
  };
  expect(await listTwice(project, "holds/", {})).toMatchObject([{ name: "holds/a", modifiedMs: 7 }]);
});

test("listTwice() fails when one of the listings does", async () => {
  const error = new Error("broken");
  let listings = 0;
  const { project } = await newProject({
    before: ({ op }) => {
      if (op === "list" && ++listings === 2) throw error;
    },
  });
  expect(await listTwice(project, "holds/", {}).catch((error) => error)).toBe(error);
});
