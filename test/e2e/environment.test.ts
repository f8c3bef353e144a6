/** What the environment of the program gives to others, and what it cannot have the program do. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chownSync, copyFileSync, existsSync, readFileSync } from "node:fs";
import { describeWith } from "../kit/parts.ts";
import { noise, RUN_LIMIT_MS } from "../kit/repository.ts";
import { varve, VARVE_BIN } from "../kit/varve.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

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

describe("an environment that would have the runtime do something else", () => {
  const bench = new Workbench(scratchFolder());
  const touched = bench.path("touched");
  const script = bench.path("script.js");
  beforeAll(async () => {
    await Bun.write(script, `require("node:fs").writeFileSync(${JSON.stringify(touched)}, "")`);
    await bench.json(["init", "acme", "--no-encryption"]);
  });

  test.each([
    ["BUN_OPTIONS", () => `--preload=${script}`],
    ["BUN_OPTIONS", () => `--require ${script}`],
    ["BUN_INSPECT_PRELOAD", () => script],
    ["NODE_OPTIONS", () => `--require ${script}`],
    ["NODE_OPTIONS", () => `--import ${script}`],
  ])("runs nothing by %s", async (name, value) => {
    const result = await bench.run(["list", "--json"], { env: { [name]: value() } });
    expect(result).toEqual({ code: 0, stdout: "[]\n", stderr: "" });
    expect(existsSync(touched)).toBe(false);
  });

  test("does not make another program of it by BUN_BE_BUN", async () => {
    const env = { BUN_BE_BUN: "1" };
    expect((await bench.run([script], { env })).code).toBe(2);
    expect((await bench.run(["-e", `require(${JSON.stringify(script)})`], { env })).code).toBe(2);
    expect((await bench.run(["--version"], { env })).stdout).toStartWith("varve ");
    expect(existsSync(touched)).toBe(false);
  });

  test.each(["BUN_INSPECT", "BUN_INSPECT_CONNECT_TO", "BUN_OPTIONS"])(
    "opens no debugger by %s",
    async (name) => {
      const socket = bench.path("socket");
      using server = Bun.listen({ unix: socket, socket: { data() {}, open: () => void connections++ } });
      let connections = 0;
      const values = {
        BUN_INSPECT: `ws+unix://${bench.path("debugger")}`,
        BUN_INSPECT_CONNECT_TO: socket,
        BUN_OPTIONS: `--inspect-brk=ws+unix://${bench.path("debugger")}`,
      };
      // It lives long enough to be connected to.
      const args = ["backup", "acme/vm", "--format", "raw", "--exec", "--", "sh", "-c", "sleep 0.5; echo x"];
      const env = { [name]: values[name as keyof typeof values] };
      expect(await bench.run(args, { env })).toMatchObject({ code: 0, stderr: "" });
      expect({ connections, socket: existsSync(bench.path("debugger")) }).toEqual({
        connections: 0,
        socket: false,
      });
      server.stop();
    },
  );

  test("reads no settings out of the folder that it runs in", async () => {
    const cwd = bench.path("cwd");
    await Bun.write(`${cwd}/bunfig.toml`, `preload = [${JSON.stringify(script)}]\n`);
    await Bun.write(`${cwd}/.env`, "VARVE_REPO=/elsewhere\n");
    await Bun.write(`${cwd}/package.json`, "{ not JSON");
    await Bun.write(`${cwd}/tsconfig.json`, "{ not JSON");
    const { VARVE_REPO: url = "" } = bench.env;
    const [named, unnamed] = [
      await varve(["list", "--json", "--repo", url], { cwd }),
      await varve(["list"], { cwd, env: { HOME: cwd } }),
    ];
    expect(named).toMatchObject({ code: 0, stderr: "" });
    expect(unnamed.code).toBe(10);
    expect(unnamed.stderr).not.toContain("/elsewhere");
    expect(existsSync(touched)).toBe(false);
  });
});

describeWith(["root"], "a process that is ended by a signal that makes a core dump", () => {
  const bench = new Workbench(scratchFolder());
  /** Whether a program dumps its memory at SIGXCPU, once it has made a file. */
  const dumps = async (...command: string[]) => {
    const script = `ulimit -c unlimited; rm -f running; "$@" & until [ -e running ]; do sleep 0.05; done
      kill -XCPU $!; wait $!`;
    const child = Bun.spawn(["bash", "-c", script, "bash", ...command], {
      cwd: bench.folder,
      env: { ...bench.env, PATH: process.env.PATH },
      stderr: "pipe",
    });
    const [stderr] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    return stderr.includes("core dumped");
  };
  test("leaves none, though a program that varve runs may", async () => {
    await bench.json(["init", "acme", "--no-encryption"]);
    const waiting = ["sh", "-c", "touch running; exec sleep 60"];
    expect(await dumps(...waiting)).toBe(true);
    expect(await dumps(VARVE_BIN, "backup", "acme/vm", "--format", "raw", "--exec", "--", ...waiting)).toBe(
      false,
    );
  });
});

describeWith(["root"], "a process of an unprivileged user", () => {
  const bench = new Workbench(scratchFolder());
  /** A copy of the program, in a folder that this user owns. */
  const program = bench.path("varve");
  const run = async (...command: string[]) => {
    const env = { ...bench.env, PATH: process.env.PATH, HOME: bench.folder, VARVE_PASSPHRASE: "open sesame" };
    const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const child = Bun.spawn([...user, ...command], {
      env,
      cwd: bench.folder,
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    return { code: await child.exited, stdout, stderr };
  };
  beforeAll(async () => {
    copyFileSync(VARVE_BIN, program);
    await Bun.write(bench.path("disk"), noise(300_000, "disk"));
    chownSync(bench.folder, 65534, 65534);
    expect(await run(program, "init", "acme")).toMatchObject({ code: 0 });
  });

  test("does all that it does for root, with a repository in a directory and a cache", async () => {
    for (const round of [1, 2]) {
      for (
        const args of [
          ["backup", "acme/vm", "disk", "--format", "raw"],
          ["restore", "acme/vm", "--to", "restored"],
          ["verify", "acme"],
          ["gc", "acme"],
        ]
      ) {
        expect({ round, args, ...await run(program, ...args, "--quiet") }).toMatchObject({
          code: 0,
          stderr: "",
        });
      }
    }
    expect(readFileSync(bench.path("restored")).equals(readFileSync(bench.path("disk")))).toBe(true);
    expect(existsSync(bench.path("cache/varve/files"))).toBe(true);
  });

  test("shows its environment to no other of that user, not even to its child", async () => {
    const look = "grep -qz 'open sesame' /proc/$PPID/environ; echo $?";
    expect((await run("sh", "-c", `sh -c "${look.replaceAll("$", "\\$")}"; true`)).stdout).toBe("0\n");
    const args = ["backup", "acme/look", "--format", "raw", "--quiet", "--exec", "--", "sh", "-c", look];
    const { code, stderr } = await run(program, ...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("Permission denied") });
    expect((await run(program, "restore", "acme/look", "--to", "-")).stdout).toBe("2\n");
  });
});
