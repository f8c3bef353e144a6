/**
 * Somebody who can write to the store makes varve touch nothing beside the repository, hang, take the host's memory, give
 * wrong bytes with exit code 0, or print what is not meant for people: in none of these rounds. More of them:
 * `node_modules/.bin/bun test/hostile/main.ts --rounds 5000`.
 */
import { expect, test } from "bun:test";
import { describeWith } from "../kit/parts.ts";

const ROUNDS = Number(process.env.VARVE_HOSTILE_ROUNDS ?? 30);
/** Only one that hangs gets there. */
const LIMIT_MS = 900_000;

async function play(...args: string[]): Promise<{ code: number; output: string }> {
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/main.ts`, ...args], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const output = await new Response(child.stdout).text();
  return { code: await child.exited, output };
}

async function expectAllHolds(store: string, rounds: number): Promise<void> {
  const { code, output } = await play("--store", store, "--rounds", String(rounds));
  if (code !== 0) console.log(output);
  expect({ code, summary: output.split("\n").at(-2) }).toEqual({
    code: 0,
    summary: expect.stringMatching(
      new RegExp(`^nothing wrong: ${rounds} rounds from 1, \\d+ commands ended `),
    ),
  });
}

describeWith([], "a hostile writer", () => {
  test("in a directory", () => expectAllHolds("directory", ROUNDS), LIMIT_MS);
});

describeWith(["MinIO"], "a hostile writer", () => {
  test("in MinIO", () => expectAllHolds("minio", Math.ceil(ROUNDS / 4)), LIMIT_MS);
});
