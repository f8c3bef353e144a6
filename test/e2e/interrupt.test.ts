/** The built program and what ends it: Ctrl-C, signals, kill -9 at any moment, and another backup at its side. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LEFTOVER_AGE_MS } from "../../src/store/directory/leftovers.ts";
import type { FaultyS3 } from "../kit/faulty_s3.ts";
import { describeWith } from "../kit/parts.ts";
import { random } from "../kit/random.ts";
import { beginning, encodeDiff, fullStream } from "../kit/rbd_stream.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { Terminal, until } from "../kit/terminal.ts";
import { VARVE_BIN } from "../kit/varve.ts";
import { filesBelow } from "../kit/files_below.ts";
import { startProxiedRepository } from "../kit/proxied_repository.ts";

const SIZE_BYTES = 24 * CHUNK_BYTES + 100;
const BYTES = noise(SIZE_BYTES, "volume");
const SEED = 20_261;
const KILLS = 12;

setDefaultTimeout(RUN_LIMIT_MS);

describe("varve in a directory, interrupted", () => {
  let repository: TestRepository;
  let half: string;
  beforeAll(async () => {
    repository = await TestRepository.make();
    await repository.backUp("acme/first", BYTES);
    half = repository.path("half.diff");
    const stream = fullStream(noise(SIZE_BYTES, "half"));
    writeFileSync(half, stream.subarray(0, stream.length / 2));
  });
  afterAll(() => repository.remove());

  const chunks = () => filesBelow(join(repository.url, "projects/acme/chunks")).length;
  let chunksBefore: number;
  beforeEach(() => {
    chunksBefore = chunks();
  });
  /** Whether the backup that was begun has got to its work. */
  const works = () => leases().length > 0;
  const leases = () => filesBelow(join(repository.url, "projects/acme/leases"));
  const expectNothingLeft = async () => {
    expect(leases()).toEqual([]);
    await repository.expectNothingNew();
  };

  test("backup of a slow pipe ends by Ctrl-C", async () => {
    const terminal = new Terminal(
      `{ cat '${half}'; exec sleep 600; } | varve backup acme/slow`,
      repository.env,
    );
    await until(() => chunks() > chunksBefore);
    terminal.interrupt();
    expect(await terminal.ended()).toEqual([130, 130]);
    expect(terminal.output).toContain("varve: Interrupted: nothing was committed\r\n");
    await expectNothingLeft();
  });

  test("backup of a producer ends by Ctrl-C, and the producer with it", async () => {
    const pid = repository.path("pid");
    const producer = `echo $$ > '${pid}'; cat '${half}'; exec sleep 600`;
    const line = `varve backup acme/slow --exec -- sh -c "${producer.replaceAll("$", "\\$")}"`;
    const terminal = new Terminal(line, repository.env);
    await until(() => works() && existsSync(pid) && readFileSync(pid, "utf8").endsWith("\n"));
    terminal.interrupt();
    expect(await terminal.ended()).toEqual([130]);
    expect(terminal.output).toContain("varve: Interrupted: nothing was committed\r\n");
    expect(existsSync(`/proc/${readFileSync(pid, "utf8").trim()}`)).toBe(false);
    await expectNothingLeft();
  });

  test("restore to a reader that stands still ends by Ctrl-C and says that it is not complete", async () => {
    const terminal = new Terminal("varve restore acme/first --to - | sleep 600", repository.env);
    await until(works);
    terminal.interrupt();
    expect(await terminal.ended()).toEqual([130, 130]);
    expect(terminal.output).toContain('varve: Interrupted: "standard output" is incomplete\r\n');
    await expectNothingLeft();
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "backup ends by %s to itself alone, and its producer with it",
    async (signal) => {
      const pid = repository.path(`pid-${signal}`);
      const producer = `echo $$ > '${pid}'; cat '${half}'; exec sleep 600`;
      const child = repository.start(["backup", "acme/slow", "--exec", "--", "sh", "-c", producer]);
      await until(() => works() && existsSync(pid) && readFileSync(pid, "utf8").endsWith("\n"));
      child.kill(signal);
      expect(await new Response(child.stderr).text()).toBe("varve: Interrupted: nothing was committed\n");
      expect(await child.exited).toBe(130);
      expect(existsSync(`/proc/${readFileSync(pid, "utf8").trim()}`)).toBe(false);
      await expectNothingLeft();
    },
  );
});

describeWith(["MinIO"], "varve in S3, interrupted", () => {
  let stop: () => Promise<void>;
  let proxy: FaultyS3;
  let repository: TestRepository;
  beforeAll(async () => {
    ({ proxy, repository, stop } = await startProxiedRepository());
    await repository.backUp("acme/first", BYTES);
  });
  beforeEach(() => proxy.reset());
  afterAll(() => stop?.());

  const isChunk = (key: string) => key.includes("/chunks/");

  test.each([
    ["writes", "nothing was committed", "backup acme/hung --format raw volume.img"],
    [
      "reads",
      '"/dev/null" is incomplete; run the same command again to resume',
      "restore acme/first --to /dev/null",
    ],
  ])("Ctrl-C ends it and its lease when the store hangs on %s of chunks", async (_, left, line) => {
    writeFileSync(repository.path("volume.img"), noise(SIZE_BYTES, line));
    proxy.faultOf = ({ method, key }) => /PUT|GET/.test(method) && isChunk(key) ? "hang" : undefined;
    const terminal = new Terminal(`cd '${repository.folder}'; varve ${line}`, repository.env);
    await until(() => proxy.calls.some(({ method, key }) => /PUT|GET/.test(method) && isChunk(key)));
    terminal.interrupt();
    expect(await terminal.ended()).toEqual([130]);
    expect(terminal.output).toContain(`varve: Interrupted: ${left}\r\n`);
    expect(proxy.calls.at(-1)).toMatchObject({ method: "POST" }); // the lease's deletion
    proxy.reset();
    await repository.expectNothingNew();
  });

  test("Ctrl-C ends it when the whole store hangs, and it says that its lease is left", async () => {
    writeFileSync(repository.path("volume.img"), noise(SIZE_BYTES, "all hang"));
    let hangs = false;
    proxy.faultOf = ({ method, key }) => {
      hangs ||= method === "PUT" && isChunk(key);
      return hangs ? "hang" : undefined;
    };
    const line = `varve backup acme/hung --format raw '${repository.path("volume.img")}'`;
    const terminal = new Terminal(line, repository.env);
    await until(() => hangs);
    terminal.interrupt();
    expect(await terminal.ended()).toEqual([130]);
    expect(terminal.output).toContain("could not remove the lease; it is left to expire");
    expect(terminal.output).toContain("varve: Interrupted: nothing was committed\r\n");
    proxy.reset();
    await repository.expectNothingNew();
  });

  test(`backup succeeds when it is run again after kill -9 at any request (seed ${SEED})`, async () => {
    const next = random(SEED);
    let killed = 0;
    for (let turn = 0; turn < KILLS; turn++) {
      const bytes = noise(SIZE_BYTES, `turn ${turn}`);
      const stdin = fullStream(bytes);
      const child = repository.start(["backup", "acme/killed", "--json"], { stdin });
      const at = next(70);
      const fault = (["hang", "lost", undefined] as const)[next(3)];
      proxy.reset();
      proxy.faultOf = ({ index }) => {
        if (index !== at) return undefined;
        child.kill("SIGKILL");
        return fault;
      };
      await child.exited;
      if (child.signalCode === "SIGKILL") killed++;
      proxy.reset();
      await repository.adoptIfCommitted(bytes);
      await repository.backUp("acme/killed", bytes);
    }
    expect(killed).toBeGreaterThan(KILLS / 2);
    await repository.expectIntact();
  });
});

describe("varve in a directory, killed", () => {
  let repository: TestRepository;
  beforeAll(async () => {
    repository = await TestRepository.make();
    await repository.backUp("acme/killed", BYTES);
  });
  afterAll(() => repository.remove());

  /** Starts a backup for `kill` to end, then runs it again to its end. */
  const killAndRepeat = async (
    bytes: Uint8Array,
    kill: (stream: Uint8Array) => Promise<unknown>,
  ): Promise<void> => {
    await kill(fullStream(bytes));
    await repository.adoptIfCommitted(bytes);
    await repository.backUp("acme/killed", bytes);
  };

  test(`backup succeeds when it is run again after kill -9 anywhere in its stream (seed ${SEED})`, async () => {
    const next = random(SEED);
    for (let turn = 0; turn < KILLS / 2; turn++) {
      await killAndRepeat(noise(SIZE_BYTES, `stream ${turn}`), async (stream) => {
        const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
        const child = repository.start(["backup", "acme/killed"], { stdin: readable });
        await writable.getWriter().write(stream.subarray(0, next(stream.length)));
        child.kill("SIGKILL");
        await child.exited;
      });
    }
    await repository.expectIntact();
  });

  /** Runs varve until it makes its `count`th call of `name` in a thread, at which it is killed. */
  const killedAtCall = async (
    args: readonly string[],
    { name, count, stdin }: { name: string; count: number; stdin?: Uint8Array },
  ): Promise<boolean> => {
    const inject = `inject=${name}:signal=SIGKILL:when=${count}`;
    const command = [
      "strace",
      "-f",
      "-qq",
      "-o",
      "/dev/null",
      "-e",
      `trace=${name}`,
      "-e",
      inject,
      VARVE_BIN,
    ];
    const env = { PATH: process.env.PATH ?? "", HOME: "/nonexistent", ...repository.env };
    const child = Bun.spawn([...command, ...args], {
      env,
      stdin: stdin ?? "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    await child.exited;
    return child.signalCode === "SIGKILL";
  };

  describeWith(["strace"], "at a system call", () => {
    test(`backup succeeds when it is run again after kill -9 at any change of the store (seed ${SEED})`, async () => {
      const next = random(SEED);
      let killed = 0;
      for (let turn = 0; turn < KILLS; turn++) {
        await killAndRepeat(noise(SIZE_BYTES, `call ${turn}`), async (stdin) => {
          const name = ["rename", "fsync", "mkdir", "write", "unlink"][next(5)]!;
          if (await killedAtCall(["backup", "acme/killed"], { name, count: 1 + next(6), stdin })) killed++;
        });
      }
      expect(killed).toBeGreaterThan(KILLS / 2);
      await repository.expectIntact();
    });

    test("restore makes the target right when it is run again after kill -9", async () => {
      const to = repository.path("restored.img");
      await repository.backUp("acme/whole", BYTES);
      for (const count of [1, 4, 9]) {
        rmSync(to, { force: true });
        const args = ["restore", "acme/whole", "--to", to];
        expect(await killedAtCall(args, { name: "pwrite64", count })).toBe(true);
        expect(await repository.run(args)).toMatchObject({ code: 0, stderr: "" });
        expect(readFileSync(to).equals(BYTES)).toBe(true);
      }
    });
  });

  test("what killed backups have left is removed a day later, and does not pile up", async () => {
    const tmp = join(repository.url, "tmp");
    const old = new Date(Date.now() - LEFTOVER_AGE_MS - 3_600_000);
    writeFileSync(join(tmp, crypto.randomUUID()), "by a killed one"); // there may be none by the kills above
    for (const file of filesBelow(tmp)) utimesSync(file, old, old);
    await repository.backUp("acme/after", noise(1000, "after"));
    expect(readdirSync(tmp)).toEqual([]);
  });
});

describe("two backups of one volume at the same time", () => {
  test.each([["are full", undefined], ["are increments of the same one", "monday"]])(
    "both leave a whole point, or one says conflict, when they %s",
    async (_, from) => {
      const repository = await TestRepository.make();
      await repository.backUp("acme/vm", BYTES, { snapshot: "monday" });
      const contents = [noise(SIZE_BYTES, "one"), noise(SIZE_BYTES, "other")];
      const running = contents.map((bytes, index) => {
        const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
        const stream = encodeDiff([
          ...(from === undefined ? [] : [{ tag: "f", name: from } as const]),
          ...beginning(SIZE_BYTES, `snapshot-${index}`),
          { tag: "w", offset: 0, data: bytes },
          { tag: "e" },
        ]);
        const child = repository.start(["backup", "acme/vm", "--json"], { stdin: readable });
        return { bytes, stream, child, writer: writable.getWriter() };
      });
      for (const { writer, stream } of running) await writer.write(stream.subarray(0, stream.length / 2));
      await until(() => filesBelow(join(repository.url, "projects/acme/leases")).length === 2);
      for (const { writer, stream } of running) {
        await writer.write(stream.subarray(stream.length / 2));
        await writer.close();
      }
      const codes = await Promise.all(running.map(async ({ bytes, child }) => {
        const stdout = await new Response(child.stdout).text();
        const code = await child.exited;
        if (code === 0) repository.expectPoint("acme/vm", JSON.parse(stdout).backup, bytes);
        return code;
      }));
      expect(codes).toContain(0);
      for (const code of codes) expect([0, 11]).toContain(code);
      await repository.expectIntact();
      await repository.remove();
    },
  );
});
