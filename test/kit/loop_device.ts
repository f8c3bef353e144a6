/** Real loop devices for tests of block devices. They need root; elsewhere those tests are skipped, saying so. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";

/** Why there can be no loop device here, or `undefined`. */
export const noLoopDevice: string | undefined = reason();

/** Attaches `file` to a free loop device and returns the device's path. */
export function attachLoop(file: string): string {
  return run(["losetup", "--find", "--show", file]).trim();
}

export function detachLoop(device: string): void {
  run(["losetup", "--detach", device]);
}

/** Runs a command to its end, and returns what it printed; throws with its stderr when it failed. */
export function run(command: [string, ...string[]]): string {
  const [name, ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(name, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command.join(" ")}: ${error ?? stderr}`);
  return stdout;
}

function reason(): string | undefined {
  if (process.getuid?.() !== 0) return "loop devices need root";
  if (!fs.existsSync("/dev/loop-control")) return "this kernel has no loop devices";
  if (spawnSync("losetup", ["--find"]).status !== 0) return "no free loop device";
  return undefined;
}
