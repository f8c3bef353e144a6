/** Stands in for src/util/random.ts: the bytes that the engine asks for follow from the seed of the process that asks. */
import { AsyncLocalStorage } from "node:async_hooks";

type RandomBytes = (count: number) => Uint8Array<ArrayBuffer>;

const source = new AsyncLocalStorage<RandomBytes>();

/** All that `work` asks for comes from there. */
export function withRandomBytes<T>(bytes: RandomBytes, work: () => T): T {
  return source.run(bytes, work);
}

export function randomBytes(count: number): Uint8Array<ArrayBuffer> {
  return source.getStore()!(count);
}
