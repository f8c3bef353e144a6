/** A note is replaced as a whole, for its owner alone, or stays as it was. */
import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { dirname } from "node:path";
import { systemCode } from "../../src/os/fd.ts";
import { replaceFile } from "../../src/os/replace_file.ts";
import { rejection } from "../kit/rejection.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();

test.each([true, false])(
  "replaceFile() makes the file and its folders for their owner alone, durable: %p",
  async (isDurable) => {
    const file = path(`made-${isDurable}/by/it/note`);
    await replaceFile(file, "one\n", { isDurable });
    await replaceFile(file, "two\n", { isDurable });
    expect(fs.readFileSync(file, "utf8")).toBe("two\n");
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(fs.statSync(dirname(file)).mode & 0o777).toBe(0o700);
    expect(fs.readdirSync(dirname(file))).toEqual(["note"]);
  },
);

test("replaceFile() replaces a link and leaves what it leads to", async () => {
  fs.writeFileSync(path("elsewhere"), "theirs");
  fs.symlinkSync(path("elsewhere"), path("link"));
  await replaceFile(path("link"), "ours", { isDurable: false });
  expect(fs.lstatSync(path("link")).isFile()).toBe(true);
  expect(fs.readFileSync(path("elsewhere"), "utf8")).toBe("theirs");
});

test("replaceFile() leaves what was there, and nothing beside it, when it fails", async () => {
  fs.mkdirSync(path("folder/note"), { recursive: true });
  const error = await rejection(replaceFile(path("folder/note"), "x", { isDurable: false }));
  expect(systemCode(error)).toBe("EISDIR");
  expect(fs.readdirSync(path("folder"))).toEqual(["note"]);
});

test("readers see the old text or the new one, however many write at once", async () => {
  const file = path("busy");
  const texts = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(50_000));
  await replaceFile(file, texts[0]!, { isDurable: false });
  const writing = Promise.all(texts.map((text) => replaceFile(file, text, { isDurable: false })));
  for (let look = 0; look < 50; look++) {
    expect(texts).toContain(await fs.promises.readFile(file, "utf8"));
  }
  await writing;
});
