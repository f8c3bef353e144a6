import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { expect, test } from "bun:test";
import { AnswerError } from "../../../src/store/s3/answers.ts";
import { readBody } from "../../../src/store/s3/body.ts";
import { rejection } from "../../kit/rejection.ts";
import { bytes } from "../../kit/store_contract.ts";

/** An answer as the SDK gives it, with a body of these pieces. */
function answer(
  pieces: string[],
  ContentLength: number | undefined,
  more: Partial<GetObjectCommandOutput> = {},
): GetObjectCommandOutput {
  const stream = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(bytes(piece));
      controller.close();
    },
  });
  return {
    ContentLength,
    ETag: '"x"',
    ...more,
    Body: { transformToWebStream: () => stream },
  } as unknown as GetObjectCommandOutput;
}

const options = { bucket: "bucket", range: undefined, moved: () => {} };
const range = { offset: 2, length: 3 };
const MD5_OF_ABCD = "e2fc714c4727ee9395f324cd2e7f331f";

test("readBody() joins the pieces and tells of each when the length is right", async () => {
  let count = 0;
  expect(await readBody(answer(["ab", "", "cde"], 5), { ...options, moved: () => count++ })).toEqual(
    bytes("abcde"),
  );
  expect(count).toBe(3);
});

test("readBody() uses the room that it is given when the body fits", async () => {
  for (const length of [4, undefined]) {
    const into = new Uint8Array(10);
    const body = answer(["ab", "cd"], length, { ETag: MD5_OF_ABCD });
    expect((await readBody(body, { ...options, into })).buffer).toBe(into.buffer);
    expect(into.subarray(0, 5)).toEqual(Uint8Array.from(bytes("abcd\0")));
  }
});

test("readBody() reads a range when the answer says that it is that one", async () => {
  for (const ContentRange of ["bytes 2-4/9", "bytes 2-4/5"]) {
    for (const length of [3, undefined]) {
      expect(await readBody(answer(["cde"], length, { ContentRange }), { ...options, range })).toEqual(
        bytes("cde"),
      );
    }
  }
  expect(await readBody(answer(["cd"], 2, { ContentRange: "bytes 2-3/4" }), { ...options, range })).toEqual(
    bytes("cd"),
  );
});

test("readBody() reads a body without a length when its ETag is its MD5", async () => {
  for (const ETag of [MD5_OF_ABCD, `"${MD5_OF_ABCD}"`, `"${MD5_OF_ABCD.toUpperCase()}"`]) {
    expect(await readBody(answer(["ab", "cd"], undefined, { ETag }), options)).toEqual(bytes("abcd"));
  }
});

test("readBody() takes any ETag when the store says that it is no MD5", async () => {
  const ETag = '"00000000000000000000000000000000"';
  const kinds: Partial<GetObjectCommandOutput>[] = [
    { ServerSideEncryption: "aws:kms", ETag },
    { ServerSideEncryption: "aws:kms:dsse", ETag },
    { SSECustomerAlgorithm: "AES256", ETag },
    { ETag: '"00000000000000000000000000000000-3"' },
  ];
  for (const kind of kinds) expect(await readBody(answer(["abcd"], 4, kind), options)).toEqual(bytes("abcd"));
});

const REFUSED: [
  what: string,
  state: string,
  body: GetObjectCommandOutput,
  range?: { offset: number; length: number },
][] = [
  ["is empty, and nobody's", "it has no ETag", answer([], 0, { ETag: undefined })],
  ["ends early", "it ended after 4 of 5 bytes", answer(["ab", "cd"], 5)],
  ["goes on", "it is longer than the 3 bytes that it announces", answer(["ab", "cd"], 3)],
  [
    "has no length and no MD5",
    "it announces no length and has no MD5",
    answer(["abcd"], undefined, { ETag: "x-2" }),
  ],
  [
    "has no length and is cut",
    "does not match its 3 bytes",
    answer(["abc"], undefined, { ETag: MD5_OF_ABCD }),
  ],
  ["is another object's", "does not match its 4 bytes", answer(["abce"], 4, { ETag: MD5_OF_ABCD })],
  ["is compressed", "it was compressed in transit (gzip)", answer(["abcd"], 4, { ContentEncoding: "gzip" })],
  ["has a length that cannot be", "it announces -1 bytes", answer(["abcd"], -1)],
  ["has a length that no object has", "it announces 1000000000000000 bytes", answer(["abcd"], 1e15)],
  [
    "is a part of what was asked for",
    "it is only a part, bytes 0-3/9",
    answer(["abcd"], 4, {
      ContentRange: "bytes 0-3/9",
    }),
  ],
  ["is the whole instead of a range", "it is not the requested range", answer(["cde"], 3), range],
  [
    "is another range",
    "it is the range bytes 0-2/9",
    answer(["abc"], 3, { ContentRange: "bytes 0-2/9" }),
    range,
  ],
  [
    "is a shorter range",
    "it is the range bytes 2-3/9",
    answer(["cd"], 2, { ContentRange: "bytes 2-3/9" }),
    range,
  ],
  [
    "is a longer range",
    "it is the range bytes 2-5/9",
    answer(["cdef"], 4, { ContentRange: "bytes 2-5/9" }),
    range,
  ],
  [
    "has a range of another length",
    "it announces 2 bytes but a range of 3",
    answer(["cd"], 2, {
      ContentRange: "bytes 2-4/9",
    }),
    range,
  ],
];
for (const [what, state, body, range] of REFUSED) {
  test(`readBody() refuses a body that ${what}`, async () => {
    const error = await rejection(readBody(body, { ...options, range }));
    expect(error).toBeInstanceOf(AnswerError);
    expect((error as Error).message).toContain(state);
  });
}
