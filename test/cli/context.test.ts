import { expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { defaultRepository, stateFolder } from "../../src/cli/context.ts";

test("defaultRepository() is in the user's data folder when XDG_DATA_HOME is absolute", () => {
  expect(defaultRepository({ XDG_DATA_HOME: "/data" }, "/home/me")).toBe("/data/varve/repository");
});

test("defaultRepository() is below the home folder when XDG_DATA_HOME is unset, empty or relative", () => {
  for (const env of [{}, { XDG_DATA_HOME: "" }, { XDG_DATA_HOME: "data" }]) {
    expect(defaultRepository(env, "/home/me")).toBe("/home/me/.local/share/varve/repository");
  }
});

test("stateFolder() is where XDG_STATE_HOME says, or below a home folder that is there", () => {
  expect(stateFolder({ XDG_STATE_HOME: "/state" }, "/dev/null")).toBe("/state/varve");
  for (const env of [{}, { XDG_STATE_HOME: "" }, { XDG_STATE_HOME: "state" }]) {
    expect(stateFolder(env, tmpdir())).toBe(`${tmpdir()}/.local/state/varve`);
    for (const home of ["/dev/null", `${tmpdir()}/${crypto.randomUUID()}`]) {
      expect(stateFolder(env, home)).toBeUndefined();
    }
  }
});
