/** What the program prints: JSON is JSON whatever names hold, errors too, nothing steers a terminal, and a full output is said. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { BackupInfo } from "../../src/project/catalog.ts";
import { CHUNK_BYTES, noise, TestRepository } from "../kit/repository.ts";
import { Terminal, until } from "../kit/terminal.ts";
import { VARVE_BIN, varveBytes } from "../kit/varve.ts";
import { fullStream } from "../kit/rbd_stream.ts";

setDefaultTimeout(60_000);

/** Clears a screen (C1 and C0 introducers), turns the direction of what follows, ends a line. */
const HOSTILE = "a\u009b2Jb\u001b[2Jc\u202egnp.exe\u2066\u200f\u2028d\u007f";
const ESCAPED = "a\\x9b2Jb\\x1b[2Jc\\u202egnp.exe\\u2066\\u200f\\u2028d\\x7f";
// deno-lint-ignore no-control-regex
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

let repository: TestRepository;
beforeAll(async () => {
  repository = await TestRepository.make();
  await repository.backUp("acme/vm", noise(CHUNK_BYTES, 1), { snapshot: HOSTILE });
});
afterAll(() => repository.remove());

/** Runs a shell line; `varve` in it is the built program. */
async function shell(line: string, stdin: Uint8Array = new Uint8Array()) {
  const child = Bun.spawn(["bash", "-c", `varve() { '${VARVE_BIN}' "$@"; }; ${line}`], {
    env: { PATH: process.env.PATH ?? "", HOME: "/dev/null", ...repository.env },
    stdin,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  return { code: child.exitCode, stdout, stderr };
}

describe("a snapshot's name that would steer a terminal", () => {
  test("is the name that it is in JSON, which holds none of these characters as they are", async () => {
    const { stdout } = await repository.run(["list", "--json"]);
    expect(stdout).not.toMatch(STEERING);
    expect((JSON.parse(stdout) as BackupInfo[])[0]!.to_snapshot).toBe(HOSTILE);
    const shown = await repository.json<BackupInfo>(["show", "acme/vm"]);
    expect(shown.to_snapshot).toBe(HOSTILE);
  });

  test("is the name that it is as a field in JSON, as other fields are, too", async () => {
    const shown = await repository.json<Record<string, unknown>>(["show", "acme/vm"]);
    for (const [name, value] of Object.entries(shown)) {
      const { stdout } = await repository.run(["show", "acme/vm", "--field", name, "--json"]);
      expect(stdout).not.toMatch(STEERING);
      expect(JSON.parse(stdout)).toEqual(value);
    }
  });

  test("comes as escapes for people, in a table, an error and the log", async () => {
    const listed = await repository.run(["list"]);
    expect(listed.stdout).toContain(ESCAPED);
    expect(listed.stdout).not.toMatch(STEERING);
    for (const json of [[], ["--json"]]) {
      const { stderr } = await repository.run(["show", `acme/vm@x${HOSTILE}`, ...json]);
      expect(stderr).not.toMatch(STEERING);
    }
    for (const format of ["pretty", "json"]) {
      const log = ["--log-level", "trace", "--log-format", format];
      const { stderr } = await repository.run(["backup", "acme/log", ...log], {
        stdin: fullStream(noise(CHUNK_BYTES, 1), HOSTILE),
      });
      expect(stderr).toContain("backed up");
      expect(stderr).not.toMatch(STEERING);
    }
  });

  test("show --field prints it byte for byte to a pipe, and as escapes to a terminal", async () => {
    const args = ["show", "acme/vm", "--field", "to_snapshot"];
    const { bytes } = await varveBytes(args, { env: repository.env });
    expect(Buffer.from(bytes).toString()).toBe(`${HOSTILE}\n`);
    const terminal = new Terminal(`varve ${args.join(" ")}`, repository.env);
    expect(await terminal.ended()).toEqual([0]);
    expect(terminal.output).toContain(`${ESCAPED}\r\n`);
    // deno-lint-ignore no-control-regex
    expect(terminal.output).not.toMatch(/[\u001b\u009b\u202e]/);
  });
});

describe("an error with --json is one line of JSON, the last on standard error", () => {
  test.each<[string[], string, number, string]>([
    [["list", "acmee"], "not_found", 4, "Cannot open project"],
    [["show", "acme/vm@nope"], "not_found", 4, "Cannot find"],
    [["lisst"], "usage", 2, "unknown command"],
    [["list", "--bogus"], "usage", 2, "unknown option"],
    [["list", "--repo", "/nonexistent"], "no_repository", 10, "Cannot open the repository"],
    [["restore", "acme/vm", "--to", "-"], "usage", 2, "Cannot print JSON"],
    [["init"], "conflict", 11, "it already has one"],
    [["forget", "acme/vm", "--keep-tag", "t"], "usage", 2, "no rule says which restore points to keep"],
  ])("varve %p: %s", async (args, code, exit, text) => {
    for (const level of ["warn", "debug"]) {
      const result = await repository.run(["--json", ...args, "--log-level", level]);
      expect({ code: result.code, stdout: result.stdout }).toEqual({ code: exit, stdout: "" });
      const lines = result.stderr.split("\n");
      expect(JSON.parse(lines.at(-2)!)).toEqual({
        error: { code, exit, message: expect.stringContaining(text) },
      });
      expect(lines.at(-1)).toBe("");
      if (level === "warn") expect(lines.length).toBe(2);
    }
  });

  test("not where --json is the word of somebody else's command", async () => {
    const { code, stderr } = await repository.run(["backup", "acme/vm", "--exec", "--", "false", "--json"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^varve: Cannot /m);
  });

  test("an interruption, and what nobody waits for", async () => {
    for (const signals of [1, 2]) {
      const child = repository.start(["backup", "acme/slow", "--format", "raw", "--json"], {
        stdin: new ReadableStream(),
      });
      const leases = `${repository.url}/projects/acme/leases`;
      await until(() => existsSync(leases) && readdirSync(leases).length === 1);
      for (let sent = 0; sent < signals; sent++) child.kill("SIGTERM");
      const stderr = await new Response(child.stderr).text();
      expect(await child.exited).toBe(130);
      expect(JSON.parse(stderr.trimEnd().split("\n").at(-1)!)).toEqual({
        error: { code: "interrupted", exit: 130, message: expect.stringMatching(/^Interrupted/) },
      });
      rmSync(leases, { recursive: true, force: true });
    }
  });
});

describe("an output that cannot be written", () => {
  const SINKS = [[">/dev/full", "no space left on device"], [">&-", "it is closed"]] as const;

  for (const [sink, reason] of SINKS) {
    test(`is no failure of what was done, and is said: ${sink}`, async () => {
      const volume = `acme/full-${reason.length}`;
      const warned = {
        code: 0,
        stderr: expect.stringMatching(
          new RegExp(`^warning: the work is done, but its report was lost: .*${reason}`),
        ),
      };
      const stdin = fullStream(noise(2 * CHUNK_BYTES, volume));
      expect(await shell(`varve backup ${volume} --json ${sink}`, stdin)).toMatchObject(warned);
      const [point] = await repository.json<BackupReport[]>(["list", volume]);
      const img = repository.path("restored.img");
      expect(await shell(`varve restore ${volume} --to ${img} --json ${sink}`)).toMatchObject(warned);
      expect(statSync(img).size).toBe(2 * CHUNK_BYTES);
      await repository.json(["init", "--chunk-size", String(CHUNK_BYTES), "--repo", repository.path(volume)]);
      expect(await shell(`varve copy ${volume} --to ${repository.path(volume)} --json ${sink}`))
        .toMatchObject(warned);
      expect(await shell(`varve forget ${volume}@${point!.backup} --json ${sink}`)).toMatchObject(warned);
      expect((await repository.run(["list", volume])).code).toBe(4);
      expect(await shell(`varve gc acme --json ${sink}`)).toMatchObject(warned);
    });

    test(`is a failure of what only prints: ${sink}`, async () => {
      const lines = [
        ...["list", "show acme/vm", "stats", "verify acme --exists", "gc acme --dry-run", "--help"],
        "forget acme/vm --keep-last 1 --dry-run",
        "restore acme/vm --to -",
      ];
      for (const line of lines) {
        const { code, stderr } = await shell(`varve ${line} ${sink}`);
        expect({ line, code, stderr }).toEqual({
          line,
          code: 1,
          stderr: expect.stringMatching(new RegExp(`^varve: Cannot [^\\n]*standard output.*${reason}`)),
        });
      }
    });
  }

  test("a /dev/null that was meant is none of these, however it was opened", async () => {
    for (const sink of [">/dev/null", "1<>/dev/null"]) {
      for (const line of ["list", "restore acme/vm --to -"]) {
        expect(await shell(`varve ${line} ${sink}`)).toEqual({ code: 0, stdout: "", stderr: "" });
      }
    }
  });
});
