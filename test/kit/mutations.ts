/** JSON documents changed at random, as somebody who has the keys might write them. */
import fc from "fast-check";

/** A JSON value, and texts that `JSON.stringify` would not write. */
type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Stands for a token in the text: numbers that no value of JavaScript is written as. */
const TOKENS = ["1e999", "-1e999", "1e-999", "-0", "9007199254740993", "NaN", "0x10", "+1", "01"];

/** Stand for what is long in the text, and is not worth making a value of first. */
const LONG: Readonly<Record<string, () => string>> = {
  "long text": () => `"${"x".repeat(1_100_000)}"`,
  "long list": () => `[${"0,".repeat(999_999)}0]`,
  "deep list": () => "[".repeat(100_000) + "]".repeat(100_000),
  "deep object": () => '{"a":'.repeat(100_000) + "1" + "}".repeat(100_000),
};

const nasty: fc.Arbitrary<Json> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom<Json>(null, true, "", [], {}, 0, -1, 0.5, 1, 2 ** 31, 2 ** 53, 1e300, -1e300),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Json>("latest", "constructor", "__proto__", "2026-02-30T00:00:00.000Z"),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Json>("\u001b[2J\u202e\n", "\ud800", "ÿ".repeat(300), "x".repeat(5000)),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Json>({ base64: "?" }, { base64: 5 }, { base64: "//8=" }, { length: 1e9 }),
  },
  { weight: 4, arbitrary: fc.constantFrom(...TOKENS.map((token) => `token ${token}`)) },
  { weight: 4, arbitrary: fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json> },
  { weight: 1, arbitrary: fc.constantFrom(Array<Json>(1000).fill(0), ...Object.keys(LONG)) },
);

/** The bytes of `document` after a few changes: fields replaced, left out, or added at any depth, or a text that was cut. */
export function mutated(document: Json): fc.Arbitrary<Uint8Array> {
  const changes = fc.array(fc.tuple(fc.nat(), fc.constantFrom("set", "drop", "add"), nasty), {
    minLength: 1,
    maxLength: 3,
  });
  return fc.tuple(changes, fc.option(fc.nat(), { freq: 10 })).map(([changes, cutAt]) => {
    const changed = changes.reduce<Json>(
      (value, [at, how, other]) => change(value, { at, how, other }),
      document,
    );
    const text = textOf(changed);
    return Buffer.from(cutAt === null ? text : text.slice(0, cutAt % (text.length + 1)));
  });
}

function change(value: Json, { at, how, other }: { at: number; how: string; other: Json }): Json {
  if (typeof value !== "object" || value === null || Object.keys(value).length === 0) return other;
  const names = Object.keys(value);
  const pick = at % (names.length + 1);
  if (pick === names.length) return how === "set" ? other : add(value, other);
  const name = names[pick]!;
  const entries = Object.entries(value).flatMap(([of, field]): [string, Json][] => {
    if (of !== name) return [[of, field]];
    if (how === "drop") return [];
    const isInside = how === "add" && typeof field === "object" && field !== null;
    return [[of, isInside ? change(field, { at: Math.floor(at / 7), how: "set", other }) : other]];
  });
  return Array.isArray(value) ? entries.map(([, field]) => field) : Object.fromEntries(entries);
}

function add(value: Json[] | { [name: string]: Json }, other: Json): Json {
  return Array.isArray(value) ? [...value, other] : { ...value, later: other };
}

/** With what the tokens and long values stand for. */
function textOf(value: Json): string {
  return JSON.stringify(value).replace(/"token ([^"]*)"/g, "$1")
    .replace(/"((?:long|deep) [a-z]+)"/g, (text, name: string) => LONG[name]?.() ?? text);
}
