import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { userName } from "../../src/os/user.ts";

test("userName() is the user who runs the process, whatever the environment says", () => {
  const name = execFileSync("id", ["-un"], { encoding: "utf8" }).trim();
  const { USER, LOGNAME } = process.env;
  try {
    Object.assign(process.env, { USER: "somebody", LOGNAME: "somebody" });
    expect(userName()).toBe(name);
  } finally {
    for (const [variable, value] of Object.entries({ USER, LOGNAME })) {
      if (value === undefined) delete process.env[variable];
      else process.env[variable] = value;
    }
  }
});
