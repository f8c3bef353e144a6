import { describe, expect, test } from "bun:test";
import { IdSet } from "../../src/volume/id_set.ts";
import { random } from "../kit/random.ts";

const draw = random(20_261);
const IDS = Array.from({ length: 5000 }, () => Uint8Array.from({ length: 32 }, () => draw(256)));
const [ADDED, OTHERS] = [IDS.slice(0, 4000), IDS.slice(4000)];

function filled(): IdSet {
  const set = new IdSet();
  for (const id of ADDED) set.add(id);
  return set;
}

const sorted = (ids: Iterable<Uint8Array>) => [...ids].map((id) => Buffer.from(id).toString("hex")).sort();

describe("IdSet", () => {
  test("has() knows what was added, and nothing else, when the table has grown", () => {
    const set = filled();
    expect(ADDED.filter((id) => !set.has(id))).toEqual([]);
    expect(OTHERS.filter((id) => set.has(id))).toEqual([]);
    expect(set.size).toBe(ADDED.length);
  });

  test("add() is false when the id is there", () => {
    const set = filled();
    expect(ADDED.some((id) => set.add(id))).toBe(false);
    expect(OTHERS.every((id) => set.add(id))).toBe(true);
  });

  test("ids() gives those with a mark, and a mark stays when the table grows", () => {
    const set = new IdSet();
    for (const id of ADDED.slice(0, 500)) set.add(id);
    for (const [i, id] of ADDED.slice(0, 100).entries()) expect(set.mark(id, i + 1)).toBe(true);
    for (const id of ADDED) set.add(id);
    expect(sorted(set.ids(true))).toEqual(sorted(ADDED.slice(0, 100)));
    expect(sorted(set.ids(false))).toEqual(sorted(ADDED.slice(100)));
    expect(set.markOf(ADDED[41]!)).toBe(42);
    expect(set.mark(OTHERS[0]!)).toBe(false);
  });

  test("retain() drops what is not wanted when asked by the first byte", () => {
    const set = filled();
    set.retain((byte) => byte < 128);
    const kept = ADDED.filter(([byte]) => byte! < 128);
    expect(sorted(set.ids(false))).toEqual(sorted(kept));
    expect(set.size).toBe(kept.length);
  });

  test("[Symbol.dispose]() leaves an empty set", () => {
    const set = filled();
    set[Symbol.dispose]();
    expect(set.size).toBe(0);
    expect(ADDED.some((id) => set.has(id))).toBe(false);
    expect(set.add(ADDED[0]!)).toBe(true);
  });
});
