/** A name that does not exist: the same answer from every command. */
import { symlink } from "node:fs/promises";
import { afterAll, beforeAll, describe, setDefaultTimeout, test } from "bun:test";
import { CHUNK_BYTES, expectOneLine, noise, TestRepository } from "../kit/repository.ts";

setDefaultTimeout(60_000);

describe("a name that does not exist is exit code 4, with what there is instead", () => {
  let repository: TestRepository;

  beforeAll(async () => {
    repository = await TestRepository.make({ projects: ["acme", "beta"] });
    for (const volume of ["acme/db", "beta/web"]) await repository.backUp(volume, noise(CHUNK_BYTES, 1));
  });
  afterAll(() => repository.remove());

  const PROJECT = /^varve: Cannot (open project|erase) "acmee": .*; the repository has "acme", "beta"\n$/;
  const VOLUME = /^varve: Cannot find "acme\/dbb": it has no restore points; "acme" has "db"\n$/;
  const POINT = /^varve: Cannot find "acme\/db@monday": no restore point has that id, snapshot or time; /;
  const COMMANDS: [args: string[], ...lines: RegExp[]][] = [
    [["list", "PROJECT"], PROJECT],
    [["list", "VOLUME"], VOLUME],
    [["show", "POINT"], POINT],
    [["verify", "PROJECT"], PROJECT],
    [["verify", "VOLUME"], VOLUME],
    [["verify", "VOLUME", "--exists"], VOLUME],
    [["verify", "POINT"], POINT],
    [["stats", "PROJECT"], PROJECT],
    [["stats", "VOLUME"], VOLUME],
    [["gc", "PROJECT"], PROJECT],
    [["repair", "PROJECT"], PROJECT],
    [["repair", "VOLUME"], VOLUME],
    [["forget", "PROJECT", "--keep-last", "1"], PROJECT],
    [["forget", "VOLUME", "--keep-last", "1"], VOLUME],
    [["forget", "POINT"], POINT],
    [["hold", "POINT"], POINT],
    [["release", "POINT"], POINT],
    [["restore", "VOLUME", "--to", "-"], VOLUME],
    [["restore", "POINT", "--to", "-"], POINT],
    [["erase", "PROJECT", "--yes-erase", "acmee"], PROJECT],
  ];
  const NAMES: Record<string, string> = { PROJECT: "acmee", VOLUME: "acme/dbb", POINT: "acme/db@monday" };
  for (const [args, line] of COMMANDS) {
    test(`varve ${args.join(" ")}`, async () => {
      const result = await repository.run(args.map((arg) => NAMES[arg] ?? arg));
      expectOneLine(result, { code: 4, line: line! });
    });
  }

  test("varve show of the beginning of several ids", async () => {
    await repository.backUp("acme/db", noise(CHUNK_BYTES, 2));
    expectOneLine(await repository.run(["show", "acme/db@2"]), { code: 4, line: /2 restore points match; / });
  });

  test("varve copy to the same repository, by whatever name, is refused", async () => {
    await symlink(repository.url, repository.path("alias"));
    for (const to of [repository.url, repository.path("alias")]) {
      expectOneLine(await repository.run(["copy", "acme", "--to", to]), {
        code: 2,
        line: "are the same repository",
      });
    }
  });

  test.each([["acmee", PROJECT], ["acme/dbb", VOLUME], ["acme/db@monday", POINT]])(
    "varve copy %s",
    async (name, line) => {
      const to = repository.path("second");
      await repository.run(["init", "--repo", to]);
      expectOneLine(await repository.run(["copy", name, "--to", to]), { code: 4, line });
    },
  );
});
