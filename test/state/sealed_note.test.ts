/** Notes that only who can open the project can have written. */
import { beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { deriveKeys } from "../../src/codec/keys.ts";
import { toHex } from "../../src/util/bytes.ts";
import { readNote, UntrustedNote, writeNote } from "../../src/state/sealed_note.ts";
import { flippedBits } from "../kit/damage.ts";
import { scratchFolder } from "../kit/scratch.ts";

const folder = scratchFolder();

const [KEY, OTHER] = [1, 2].map((seed) => deriveKeys(new Uint8Array(32).fill(seed), "acme")) as [
  ReturnType<typeof deriveKeys>,
  ReturnType<typeof deriveKeys>,
];
const PATH = join(folder, "deep/er/.note");
const AT = { file: { root: folder, path: "deep/er/.note" }, about: "newest 00 acme/vm" };
const CONTENT = { newest: "x", missed: ["y"] };
const read = (place = AT) =>
  readNote(place, (id) => Promise.resolve([KEY, OTHER].find((key) => toHex(key.id) === id)));

describe("readNote()", () => {
  beforeEach(() => writeNote(AT, { keys: KEY, content: CONTENT }));

  test("gives what was written, the last time", async () => {
    expect(await read()).toEqual(CONTENT);
    await writeNote(AT, { keys: OTHER, content: { newest: null } });
    expect(await read()).toEqual({ newest: null });
  });

  test("gives nothing where there is none", async () => {
    expect(await read({ ...AT, file: { root: folder, path: "none" } })).toBeUndefined();
    expect(await read({ ...AT, file: { root: join(folder, "none"), path: "none" } })).toBeUndefined();
  });

  test("trusts no note of which a bit was changed, that was cut, or is another's", async () => {
    const whole = readFileSync(PATH);
    for (const bytes of flippedBits(whole.subarray(0, -1))) {
      writeFileSync(PATH, Buffer.concat([bytes, Buffer.from("\n")]));
      expect(await read()).toBeInstanceOf(UntrustedNote);
    }
    for (let length = 0; length < whole.length - 1; length++) {
      writeFileSync(PATH, whole.subarray(0, length));
      expect(await read()).toBeInstanceOf(UntrustedNote);
    }
    writeFileSync(PATH, whole);
    expect(await read({ ...AT, about: "newest 00 acme/other" })).toBeInstanceOf(UntrustedNote);
    expect(await readNote(AT, () => Promise.resolve(undefined))).toEqual(new UntrustedNote(toHex(KEY.id)));
    expect(await readNote(AT, () => Promise.resolve(OTHER))).toEqual(new UntrustedNote());
  });

  test("takes no more into memory than a note can have", async () => {
    writeFileSync(PATH, Buffer.concat([readFileSync(PATH), Buffer.alloc(64 * 1024)]));
    expect(await read()).toBeInstanceOf(UntrustedNote);
  });
});

describe("what is in a note's place and no file of this user's", () => {
  const plant = (make: () => void) => {
    rmSync(PATH, { recursive: true, force: true });
    make();
  };
  const victim = join(folder, "victim");
  const error = async (work: Promise<unknown>) => await work.then(() => "none", ({ message }) => message);

  test.each([
    ["a link", () => symlinkSync(victim, PATH), "is a link, which varve does not follow"],
    ["a named pipe", () => Bun.spawnSync(["mkfifo", PATH]), "is a named pipe"],
    ["a device", () => symlinkSync("/dev/zero", PATH), "is a link"],
    ["a second name of a file", () => linkSync(victim, PATH), "is not used: it has a second name"],
    ["a folder", () => mkdirSync(PATH), "is a folder"],
  ])("is neither read nor replaced: %s", async (_, make, state) => {
    mkdirSync(dirname(PATH), { recursive: true, mode: 0o700 });
    writeFileSync(victim, "theirs");
    plant(make);
    expect(await error(read())).toContain(`Cannot read "${PATH}": ".note" ${state}`);
    expect(await error(writeNote(AT, { keys: KEY, content: CONTENT }))).toContain(`Cannot write "${PATH}":`);
    expect(readFileSync(victim, "utf8")).toBe("theirs");
    plant(() => {});
  });

  test("is not looked for behind a link or in a folder that others can write to", async () => {
    rmSync(join(folder, "deep"), { recursive: true, force: true });
    mkdirSync(join(folder, "elsewhere/er"), { recursive: true });
    symlinkSync("elsewhere", join(folder, "deep"));
    expect(await error(read())).toContain('"deep" is a link');
    expect(await error(writeNote(AT, { keys: KEY, content: CONTENT }))).toContain('"deep" is a link');
    rmSync(join(folder, "deep"));
    mkdirSync(join(folder, "deep"));
    chmodSync(join(folder, "deep"), 0o777);
    expect(await error(read())).toContain('"deep" is not used: other users can write to it (mode 0777)');
    rmSync(join(folder, "deep"), { recursive: true });
    expect(readdirSync(join(folder, "elsewhere/er"))).toEqual([]);
  });
});

describe("writeNote()", () => {
  test("makes folders and files that nobody else can read, and leaves no other", async () => {
    await writeNote(AT, { keys: KEY, content: CONTENT });
    expect(statSync(PATH).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(PATH)).mode & 0o777).toBe(0o700);
    expect(readdirSync(dirname(PATH))).toEqual([".note"]);
  });

  test("fails where it cannot write, and leaves what was there", async () => {
    const nowhere = { ...AT, file: { root: "/dev/null", path: "note" } };
    await expect(writeNote(nowhere, { keys: KEY, content: CONTENT })).rejects.toThrow(
      'Cannot write "/dev/null/note": not a directory (ENOTDIR)',
    );
    chmodSync(PATH, 0o600);
    expect(await read()).toEqual(CONTENT);
  });
});
