/** What the environment of the program gives to others, and what it cannot have the program do. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { RUN_LIMIT_MS } from "../helpers/repository.ts";
import { scratchFolder, Workbench } from "./workbench.ts";

setDefaultTimeout(RUN_LIMIT_MS);

describe("the child of --exec", () => {
  test("finds in its environment nothing that is varve's or the store's, and all else", async () => {
    const bench = new Workbench(scratchFolder(), {
      VARVE_PASSPHRASE: "secret 1",
      AWS_ACCESS_KEY_ID: "secret 2",
      AWS_SECRET_ACCESS_KEY: "secret 3",
      AWS_SESSION_TOKEN: "secret 4",
      AWS_PROFILE: "backups",
      AWS_SHARED_CREDENTIALS_FILE: "/root/secret 5",
      AWS_CONTAINER_AUTHORIZATION_TOKEN: "secret 6",
      CEPH_ARGS: "--id backup",
      PGPASSFILE: "/etc/pgpass",
    });
    await bench.json(["init", "acme"]);
    const producer = ["sh", "-c", 'env >"$0"; echo x', bench.path("seen")];
    await bench.json(["backup", "acme/vm", "--format", "raw", "--exec", "--", ...producer]);
    const names = readFileSync(bench.path("seen"), "utf8").split("\n").map((line) => line.split("=")[0]);
    expect(names).toEqual(expect.arrayContaining(["CEPH_ARGS", "PGPASSFILE", "PATH"]));
    expect(names.filter((name) => /^(?:VARVE|AWS)_/.test(name!))).toEqual([]);
  });
});
