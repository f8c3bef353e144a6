/** What the kernel does with signals, asked and set in this process. */
import { expect, test } from "bun:test";
import { CaughtOnce, ignoredSignals, wasCaught } from "../../src/os/signals.ts";

test("ignoredSignals() names what the process was started to ignore", async () => {
  const module = JSON.stringify(`${import.meta.dirname}/../../src/os/signals.ts`);
  const program = `import(${module}).then((m) => console.log(m.ignoredSignals().join()))`;
  const ignoring = (
    names: string,
  ) => ["sh", "-c", `trap "" ${names}; "$0" -e '${program}'`, process.execPath];
  for (
    const [names, expected] of [["HUP INT QUIT", "SIGHUP,SIGINT,SIGQUIT"], ["TERM", "SIGTERM"], ["USR1", ""]]
  ) {
    const child = Bun.spawn(ignoring(names!), { stdout: "pipe" });
    expect((await new Response(child.stdout).text()).trim()).toBe(expected!);
  }
  expect(ignoredSignals()).toEqual([]);
});

test("a CaughtOnce is caught by its handler once, and again after it was set again", async () => {
  let count = 0;
  const onSignal = () => void count++;
  process.on("SIGHUP", onSignal);
  const once = new CaughtOnce("SIGHUP");
  for (const round of [1, 2, 3]) {
    expect(wasCaught("SIGHUP")).toBe(false);
    process.kill(process.pid, "SIGHUP");
    while (count < round) await Bun.sleep(1); // until it is so
    expect(wasCaught("SIGHUP")).toBe(true);
    once.set();
  }
  process.off("SIGHUP", onSignal);
});

test("exitAtOnce() ends the process with the code, whatever else it has to do", async () => {
  const module = JSON.stringify(`${import.meta.dirname}/../../src/os/signals.ts`);
  const program = `process.on("exit", () => console.log("said")); setInterval(() => {}, 1000);
    import(${module}).then((m) => m.exitAtOnce(7))`;
  const child = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe" });
  expect({ code: await child.exited, said: await new Response(child.stdout).text() }).toEqual({
    code: 7,
    said: "",
  });
});
