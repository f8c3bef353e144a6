/** A note is replaced as a whole, for its owner alone, or stays as it was. */
import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import {
  readNoteFile,
  removeNoteFile,
  removeNoteFolder,
  replaceNoteFile,
} from "../../src/state/note_file.ts";
import { scratchFolder } from "../kit/scratch.ts";

const root = scratchFolder();
const path = (name: string) => join(root, name);
const at = (name: string) => ({ root, path: name });

test.each([true, false])(
  "replaceNoteFile() makes the file and its folders for their owner alone, durable: %p",
  async (isDurable) => {
    const name = `made-${isDurable}/by/it/note`;
    await replaceNoteFile(at(name), "one\n", { isDurable });
    await replaceNoteFile(at(name), "two\n", { isDurable });
    expect(Buffer.from((await readNoteFile(at(name)))!).toString()).toBe("two\n");
    expect(fs.statSync(path(name)).mode & 0o777).toBe(0o600);
    expect(fs.statSync(dirname(path(name))).mode & 0o777).toBe(0o700);
    expect(fs.readdirSync(dirname(path(name)))).toEqual(["note"]);
  },
);

test("replaceNoteFile() replaces no link, which the next run has to find", async () => {
  fs.writeFileSync(path("elsewhere"), "theirs");
  fs.symlinkSync(path("elsewhere"), path("link"));
  expect(replaceNoteFile(at("link"), "ours", { isDurable: false })).rejects.toThrow('"link" is a link');
  expect(fs.lstatSync(path("link")).isSymbolicLink()).toBe(true);
  expect(fs.readFileSync(path("elsewhere"), "utf8")).toBe("theirs");
});

test("replaceNoteFile() leaves what was there, and nothing beside it, when it fails", async () => {
  fs.mkdirSync(path("folder/note"), { recursive: true });
  expect(replaceNoteFile(at("folder/note"), "x", { isDurable: false })).rejects.toThrow('"note" is a folder');
  expect(fs.readdirSync(path("folder"))).toEqual(["note"]);
});

test("readNoteFile() takes no more than a note can have", async () => {
  fs.writeFileSync(path("long"), Buffer.alloc(64 * 1024 + 1));
  expect(await readNoteFile(at("long"))).toHaveLength(0);
  fs.truncateSync(path("long"), 64 * 1024);
  expect(await readNoteFile(at("long"))).toHaveLength(64 * 1024);
});

test("removeNoteFile() and removeNoteFolder() follow no link, and mind nothing that is not there", async () => {
  fs.mkdirSync(path("victim/inner"), { recursive: true });
  fs.symlinkSync(path("victim"), path("to-victim"));
  expect(removeNoteFolder(at("to-victim/inner"))).rejects.toThrow(
    `Cannot remove "${path("to-victim/inner")}": "to-victim" is a link`,
  );
  await removeNoteFolder(at("to-victim"));
  expect(fs.readdirSync(path("victim"))).toEqual(["inner"]);
  await removeNoteFile(at("none"));
  await removeNoteFolder(at("none/none"));
});

test("readers see the old text or the new one, however many write at once", async () => {
  const texts = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(50_000));
  const place = at("busy");
  await replaceNoteFile(place, texts[0]!, { isDurable: false });
  const writing = Promise.all(texts.map((text) => replaceNoteFile(place, text, { isDurable: false })));
  for (let look = 0; look < 50; look++) {
    expect(texts).toContain(await fs.promises.readFile(path("busy"), "utf8"));
  }
  await writing;
});
