/** Small file systems that a test mounts, fills up, makes read-only and takes away. They need root. */
import { mkdirSync } from "node:fs";

export type MountOption = "ro" | "rw" | "noexec" | `size=${number}`;

/** Runs a command to its end; throws with its stderr when it failed. */
export function runAsRoot(command: readonly string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync([...command], { stdout: "pipe", stderr: "pipe" });
  if (!success) throw new Error(`${command.join(" ")}: ${stderr}`);
  return stdout.toString();
}

/** A file system in memory, mounted on the new folder `path`. */
export function mountTmpfs(path: string, options: MountOption[]): void {
  mkdirSync(path);
  runAsRoot(["mount", "-t", "tmpfs", "-o", options.join(","), "tmpfs", path]);
}

export function remount(path: string, options: MountOption[]): void {
  runAsRoot(["mount", "-o", ["remount", ...options].join(","), path]);
}

/** Takes the file system away, whoever uses it; without a complaint where there is none. */
export function unmount(path: string): void {
  Bun.spawnSync(["umount", "--lazy", path]);
}
