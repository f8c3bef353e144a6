/** What a host notes of a project's encryption, and that nothing else in the file is believed. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { pathOf } from "../../src/os/own_path.ts";
import { encryptionNotePath, notedEncryption, noteEncryption } from "../../src/state/encryption_note.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();
const place = (project: string) => ({ root: path("state"), repositoryId: "5e".repeat(16), project });

test.each(["none", "passphrase", "key-file"] as const)(
  "noteEncryption() keeps %p until another is noted",
  async (kind) => {
    const acme = place(kind);
    expect(await notedEncryption(acme)).toBeUndefined();
    await noteEncryption(acme, kind);
    expect(await notedEncryption(acme)).toBe(kind);
    await noteEncryption(acme, "none");
    expect(await notedEncryption(acme)).toBe("none");
  },
);

test.each(["", "none", "passphrase\n\n", "NONE\n", "other\n", "\0"])(
  "notedEncryption() does not believe %p",
  async (text) => {
    const damaged = place("damaged");
    const file = pathOf(encryptionNotePath(damaged));
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, text);
    expect(await notedEncryption(damaged)).toBeUndefined();
  },
);

test("notes are each of one project in one repository", async () => {
  await noteEncryption(place("acme"), "passphrase");
  expect(await notedEncryption(place("acme2"))).toBeUndefined();
  expect(await notedEncryption({ ...place("acme"), repositoryId: "6f".repeat(16) })).toBeUndefined();
});
