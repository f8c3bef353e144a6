/** What a promise fails with. */
import { describeError } from "../../src/errors.ts";

/** The error; `undefined` where there is none. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(() => undefined, (error) => error);
}

/** The error and its causes as one line; `no error` where there is none. */
export async function failureOf(promise: Promise<unknown>): Promise<string> {
  return describeError(await promise.then(() => "no error", (error) => error));
}
