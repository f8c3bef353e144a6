/** Stands in for src/engine/random.ts: the bytes that the engine asks for follow from the seed of the run. */
import { random } from "../helpers/random.ts";

let next = random(0);

export function seedRandomBytes(seed: number): void {
  next = random(seed);
}

export function randomBytes(count: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: count }, () => next(256));
}
