/** The built program and signals: those that it was started to ignore, and a main thread that does not answer. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runAsRoot } from "../kit/mounts.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { until } from "../kit/terminal.ts";
import { VARVE_BIN } from "../kit/varve.ts";
import { fullStream } from "../kit/rbd_stream.ts";

const BYTES = noise(4 * CHUNK_BYTES, "volume");
const UNWAITED = "varve: Interrupted: outstanding requests were abandoned; their outcome is unknown\n";

setDefaultTimeout(RUN_LIMIT_MS);

let repository: TestRepository;
beforeAll(async () => {
  repository = await TestRepository.make();
  await repository.backUp("acme/first", BYTES);
});
afterAll(() => repository.remove());

/** Runs a command of a shell in which `varve` is the built program. */
function shell(line: string) {
  const env = { PATH: process.env.PATH ?? "", HOME: "/nonexistent", VARVE: VARVE_BIN, ...repository.env };
  return Bun.spawn(["sh", "-c", line], { env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

/** A producer that says that it runs, and ends its stream once it may. */
function slowProducer(name: string) {
  const [stream, pid, go] = ["diff", "pid", "go"].map((end) => repository.path(`${name}.${end}`)) as [
    string,
    string,
    string,
  ];
  writeFileSync(stream, fullStream(noise(4 * CHUNK_BYTES, name)));
  const command =
    `head -c 1000 '${stream}'; echo $$ >'${pid}'; while ! [ -e '${go}' ]; do sleep 0.05; done; ` +
    `tail -c +1001 '${stream}'`;
  writeFileSync(`${stream}.sh`, command);
  const runs = () => until(() => existsSync(pid) && readFileSync(pid, "utf8").endsWith("\n"));
  return {
    script: `${stream}.sh`,
    runs,
    pid: () => Number(readFileSync(pid, "utf8")),
    go: () => writeFileSync(go, ""),
  };
}

describe("varve that was started to ignore signals", () => {
  test.each(
    [
      ["SIGHUP, as by nohup", "HUP", ["SIGHUP"]],
      ["SIGINT and SIGQUIT, as a script's job in the background", "INT QUIT", ["SIGINT", "SIGQUIT"]],
    ] as const,
  )("backup goes on, and its producer, when %s, comes", async (name, ignored, signals) => {
    const producer = slowProducer(ignored.replace(" ", "-"));
    const child = shell(
      `trap '' ${ignored}; exec "$VARVE" backup "acme/${
        ignored.replace(" ", "-")
      }" --exec -- sh '${producer.script}'`,
    );
    await producer.runs();
    for (const signal of signals) {
      child.kill(signal);
      process.kill(producer.pid(), signal);
    }
    await Bun.sleep(100); // what is to be shown is that nothing happens
    producer.go();
    const [code, stderr] = [await child.exited, await new Response(child.stderr).text()];
    expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: "" });
  });

  test("backup ends by SIGTERM all the same", async () => {
    const producer = slowProducer("term");
    const child = shell(`trap '' HUP INT; exec "$VARVE" backup acme/term --exec -- sh '${producer.script}'`);
    await producer.runs();
    child.kill("SIGTERM");
    expect(await child.exited).toBe(130);
    expect(await new Response(child.stderr).text()).toBe("varve: Interrupted: nothing was committed\n");
    expect(existsSync(`/proc/${producer.pid()}`)).toBe(false);
  });
});

describe("varve that waits for what does not come", () => {
  test.each([
    ["backup from a named pipe that nobody writes to", 'backup acme/pipe "$PIPE"'],
    ["restore to a named pipe that nobody reads from", 'restore acme/first --to "$PIPE"'],
  ])("%s ends by SIGTERM", async (name, line) => {
    const pipe = repository.path(name.replaceAll(" ", "-"));
    runAsRoot(["mkfifo", pipe]);
    const child = shell(`PIPE='${pipe}'; exec "$VARVE" ${line}`);
    // Something has been opened: it is at work.
    await until(() => isBlocked(child.pid));
    child.kill("SIGTERM");
    expect(await child.exited).toBe(130);
    expect(await new Response(child.stderr).text()).toMatch(/^varve: Interrupted: [^\n]+\n$/);
  });
});

/** Whether a thread waits for the other end of a named pipe. */
function isBlocked(pid: number): boolean {
  const { stdout } = Bun.spawnSync(["sh", "-c", `cat /proc/${pid}/task/*/wchan 2>/dev/null`]);
  return stdout.toString().includes("wait_for_partner");
}

/** A program with the built program's own way of handling signals, whose main thread then loops. */
const LOOPING = `
  import { watchProcessSignals } from ${
  JSON.stringify(join(import.meta.dirname, "../../src/cli/signals.ts"))
};
  const heard = watchProcessSignals({ exit: () => process.exit(1), lastLine: ${JSON.stringify(UNWAITED)} });
  if (process.argv[2] === "after") heard.addEventListener("abort", () => { for (;;); });
  console.log("ready");
  if (process.argv[2] === "before") for (;;);
  setInterval(() => {}, 1000);
`;

describe("a compiled program whose main thread loops", () => {
  let program: string;
  beforeAll(async () => {
    const source = repository.path("looping.ts");
    writeFileSync(source, LOOPING);
    program = repository.path("looping");
    const root = join(import.meta.dirname, "../..");
    const worker = join(root, "workers/watchdog_worker.ts");
    const { success, logs } = await Bun.build({
      entrypoints: [source, worker],
      root: "/",
      compile: { outfile: program },
      define: { VARVE_WATCHDOG_WORKER: JSON.stringify(`/$bunfs/root${worker.replace(/\.ts$/, ".js")}`) },
    });
    expect({ success, logs }).toEqual({ success: true, logs: [] });
  });

  const start = async (when: string) => {
    const child = Bun.spawn([program, when], { stdout: "pipe", stderr: "pipe" });
    const reader = child.stdout.getReader();
    await reader.read();
    return child;
  };

  test.each(["before", "after"])("ends by one SIGTERM when it began %s it came", async (when) => {
    const child = await start(when);
    child.kill("SIGTERM");
    expect(await child.exited).toBe(130);
    expect(await new Response(child.stderr).text()).toBe(UNWAITED);
  });

  test("ends at once by a second SIGTERM", async () => {
    const child = await start("before");
    child.kill("SIGTERM");
    const pending = () => /^SigCgt:\s*(\w+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))![1]!;
    await until(() => (BigInt(`0x${pending()}`) >> 14n & 1n) === 0n); // the first has been taken
    child.kill("SIGTERM");
    await child.exited;
    expect(child.signalCode).toBe("SIGTERM");
  });
});
