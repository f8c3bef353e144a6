import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { expect, test } from "bun:test";
import { readBody } from "../../src/store/s3_body.ts";
import { bytes, rejection } from "./contract.ts";

/** An answer as the SDK gives it, with a body of these pieces. */
function answer(pieces: string[], ContentLength: number): GetObjectCommandOutput {
  const stream = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(bytes(piece));
      controller.close();
    },
  });
  return { ContentLength, Body: { transformToWebStream: () => stream } } as unknown as GetObjectCommandOutput;
}

const options = { url: "s3://bucket/a", range: undefined, moved: () => {} };

test("readBody() joins the pieces and tells of each when the length is right", async () => {
  let count = 0;
  expect(await readBody(answer(["ab", "", "cde"], 5), { ...options, moved: () => count++ })).toEqual(
    bytes("abcde"),
  );
  expect(count).toBe(3);
});

test("readBody() throws what may be tried again when the body is shorter than announced", async () => {
  const error = await rejection(readBody(answer(["ab", "cd"], 5), options));
  expect(error).toMatchObject({ retryable: true });
  expect((error as Error).message).toBe('Cannot read "s3://bucket/a": the answer ended after 4 of 5 bytes');
});

test("readBody() throws when the body is longer than announced or asked for", async () => {
  expect(await rejection(readBody(answer(["ab", "cd"], 3), options))).toMatchObject({ retryable: false });
  const range = { offset: 0, length: 3 };
  expect(await rejection(readBody(answer(["ab", "cd"], 4), { ...options, range }))).toMatchObject({
    retryable: false,
  });
});
