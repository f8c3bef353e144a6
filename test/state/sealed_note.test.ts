/** Notes that only who can open the project can have written. */
import { beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { deriveKeys } from "../../src/codec/keys.ts";
import { toHex } from "../../src/util/bytes.ts";
import { readNote, writeNote } from "../../src/state/sealed_note.ts";
import { flippedBits } from "../kit/damage.ts";
import { scratchFolder } from "../kit/scratch.ts";

const folder = scratchFolder();

const [KEY, OTHER] = [1, 2].map((seed) => deriveKeys(new Uint8Array(32).fill(seed), "acme")) as [
  ReturnType<typeof deriveKeys>,
  ReturnType<typeof deriveKeys>,
];
const AT = { path: join(folder, "deep/er/.note"), about: "newest 00 acme/vm" };
const CONTENT = { newest: "x", missed: ["y"] };
const read = (place = AT) => readNote(place, (id) => [KEY, OTHER].find((key) => toHex(key.id) === id));

describe("readNote()", () => {
  beforeEach(() => writeNote(AT, { keys: KEY, content: CONTENT }));

  test("gives what was written, the last time", async () => {
    expect(await read()).toEqual(CONTENT);
    await writeNote(AT, { keys: OTHER, content: { newest: null } });
    expect(await read()).toEqual({ newest: null });
  });

  test("gives nothing where there is none", async () => {
    expect(await read({ ...AT, path: join(folder, "none") })).toBeUndefined();
    expect(await read({ ...AT, path: "/dev/null/none" })).toBeUndefined();
  });

  test("trusts no note of which a bit was changed, that was cut, or is another's", async () => {
    const whole = readFileSync(AT.path);
    for (const bytes of flippedBits(whole.subarray(0, -1))) {
      writeFileSync(AT.path, Buffer.concat([bytes, Buffer.from("\n")]));
      expect(await read()).toBe("untrusted");
    }
    for (let length = 0; length < whole.length - 1; length++) {
      writeFileSync(AT.path, whole.subarray(0, length));
      expect(await read()).toBe("untrusted");
    }
    writeFileSync(AT.path, whole);
    expect(await read({ ...AT, about: "newest 00 acme/other" })).toBe("untrusted");
    expect(await readNote(AT, () => undefined)).toBe("untrusted");
    expect(await readNote(AT, () => OTHER)).toBe("untrusted");
  });

  test("takes no more into memory than a note can have", async () => {
    writeFileSync(AT.path, Buffer.concat([readFileSync(AT.path), Buffer.alloc(64 * 1024)]));
    expect(await read()).toBe("untrusted");
  });
});

describe("writeNote()", () => {
  test("makes folders and files that nobody else can read, and leaves no other", async () => {
    await writeNote(AT, { keys: KEY, content: CONTENT });
    expect(statSync(AT.path).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(AT.path)).mode & 0o777).toBe(0o700);
    expect(readdirSync(dirname(AT.path))).toEqual([".note"]);
  });

  test("fails where it cannot write, and leaves what was there", async () => {
    await expect(writeNote({ ...AT, path: "/dev/null/note" }, { keys: KEY, content: CONTENT })).rejects
      .toThrow();
    chmodSync(AT.path, 0o600);
    expect(await read()).toEqual(CONTENT);
  });
});
