/** Random bytes from the system; the one place that asks for them. */
import { randomFillSync } from "node:crypto";

export function randomBytes(count: number): Uint8Array<ArrayBuffer> {
  return randomFillSync(new Uint8Array(count));
}
