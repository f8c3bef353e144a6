/** What a child of varve finds in its environment: no secret of varve's, and everything else. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { childEnvironment } from "../../src/os/child_environment.ts";

const SET = {
  VARVE_PASSPHRASE: "secret",
  VARVE_REPO: "s3://b",
  AWS_SECRET_ACCESS_KEY: "secret",
  AWS_PROFILE: "p",
  VARVELIKE: "kept",
  MY_AWS_KEY: "kept",
  aws_profile: "kept",
};
let before: NodeJS.ProcessEnv;
beforeEach(() => {
  before = { ...process.env };
  Object.assign(process.env, SET);
});
afterEach(() => {
  for (const name of Object.keys(SET)) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
});

test("childEnvironment() leaves out what belongs to varve and its store, and nothing else", () => {
  const names = Object.keys(childEnvironment());
  expect(names.filter((name) => /^(VARVE|AWS)_/.test(name))).toEqual([]);
  expect(childEnvironment()).toMatchObject({ VARVELIKE: "kept", MY_AWS_KEY: "kept", aws_profile: "kept" });
  expect(childEnvironment()["PATH"]).toBe(process.env["PATH"]!);
});

test("childEnvironment() leaves this process's own environment as it is", () => {
  childEnvironment();
  expect(process.env["VARVE_PASSPHRASE"]).toBe("secret");
});
