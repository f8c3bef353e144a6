import { expect, test } from "bun:test";
import { defaultRepository } from "../../src/cli/context.ts";

test("defaultRepository() is in the user's data folder when XDG_DATA_HOME is absolute", () => {
  expect(defaultRepository({ XDG_DATA_HOME: "/data" }, "/home/me")).toBe("/data/varve/repository");
});

test("defaultRepository() is below the home folder when XDG_DATA_HOME is unset, empty or relative", () => {
  for (const env of [{}, { XDG_DATA_HOME: "" }, { XDG_DATA_HOME: "data" }]) {
    expect(defaultRepository(env, "/home/me")).toBe("/home/me/.local/share/varve/repository");
  }
});
