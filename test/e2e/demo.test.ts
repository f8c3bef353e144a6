/** `scripts/demo` as a newcomer runs it; only the installing and building, which the tests have behind them, is left out. */
import { expect, test } from "bun:test";
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { VARVE_BIN } from "../kit/varve.ts";
import { readChains } from "../kit/chains.ts";
import { scratchFolder } from "../kit/scratch.ts";

const ROOT = join(import.meta.dirname, "../..");
const LIMIT_MS = 120_000;

/** A checkout in which `npm run build` has nothing to do. */
async function builtCheckout(): Promise<string> {
  const folder = join(scratchFolder(), "checkout");
  await mkdir(join(folder, "dist"), { recursive: true });
  await mkdir(join(folder, "test/fixtures"), { recursive: true });
  await symlink(VARVE_BIN, join(folder, "dist/varve"));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  await cp(join(ROOT, "test/fixtures/rbd"), join(folder, "test/fixtures/rbd"), { recursive: true });
  await cp(join(ROOT, "scripts"), join(folder, "scripts"), { recursive: true });
  await writeFile(join(folder, "package.json"), JSON.stringify({ scripts: { build: "true" } }));
  return folder;
}

test("scripts/demo backs up every night and finds each equal when it is restored", async () => {
  const folder = await builtCheckout();
  const run = Bun.spawn([join(folder, "scripts/demo")], { cwd: "/", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
  ]);
  expect([await run.exited, stderr]).toEqual([0, ""]);
  const { streams } = (await readChains()).find(({ name }) => name === "demo")!;
  const snapshots = streams.flatMap(({ points }) => points.map(({ snapshot }) => snapshot));
  expect(stdout.split("\n").filter((line) => line.startsWith("equal to what")))
    .toEqual(snapshots.map((name) => `equal to what rbd export gave for the snapshot ${name}`));
}, LIMIT_MS);
