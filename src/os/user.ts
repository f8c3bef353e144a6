/** Who runs this process. */
import { readFileSync } from "node:fs";

/** The user's name as `/etc/passwd` has it, otherwise the number: the environment may say anything. */
export function userName(): string {
  const uid = String(process.getuid?.());
  try {
    const fields = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"));
    return fields.find(([, , id]) => id === uid)?.[0] ?? uid;
  } catch {
    return uid;
  }
}
