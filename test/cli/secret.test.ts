import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { readSecret } from "../../src/cli/secret.ts";
import { describeError, UsageError } from "../../src/errors.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "varve-secret-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const to = path.join(folder, name);
  fs.writeFileSync(to, content);
  return to;
}

function failure(...args: Parameters<typeof readSecret>): string {
  try {
    return `no error: ${readSecret(...args).kind}`;
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return describeError(error);
  }
}

test("readSecret() returns none when nothing is given", () => {
  expect(readSecret({}, { HOME: "/root" })).toEqual({ kind: "none" });
});

test("readSecret() cuts exactly one newline when it reads a passphrase file", () => {
  for (
    const [content, passphrase] of [["a b", "a b"], ["a b\n", "a b"], ["a b\n\n", "a b\n"], [
      " ü ",
      " ü ",
    ]] as const
  ) {
    expect(readSecret({ passphraseFile: file("pass", content) }, {})).toEqual({
      kind: "passphrase",
      passphrase,
    });
  }
});

test("readSecret() reads 32 bytes when it is given a key file", () => {
  const key = Uint8Array.from({ length: 32 }, (_, i) => i + 200);
  expect(readSecret({ keyFile: file("key", key) }, {})).toEqual({ kind: "key", key });
});

test("readSecret() throws when a key file does not hold 32 bytes", () => {
  for (const length of [0, 31, 33]) {
    const keyFile = file("short", new Uint8Array(length));
    expect(failure({ keyFile }, {})).toBe(
      `Cannot use "${keyFile}" as a key file: it holds ${length} bytes, not 32`,
    );
  }
});

test("readSecret() takes options, then files, then the passphrase itself when several are given", () => {
  const [a, b] = [file("a", "a"), file("b", "b")];
  const env = { VARVE_PASSPHRASE_FILE: b, VARVE_PASSPHRASE: "c" };
  expect(readSecret({ passphraseFile: a }, env)).toEqual({ kind: "passphrase", passphrase: "a" });
  expect(readSecret({}, env)).toEqual({ kind: "passphrase", passphrase: "b" });
  expect(readSecret({}, { VARVE_PASSPHRASE: "c" })).toEqual({ kind: "passphrase", passphrase: "c" });
  const keyFile = file("k", new Uint8Array(32));
  expect(readSecret({ keyFile }, env).kind).toBe("key");
  expect(readSecret({}, { VARVE_KEY_FILE: keyFile, VARVE_PASSPHRASE: "c" }).kind).toBe("key");
});

test("readSecret() throws when one place gives both kinds", () => {
  expect(failure({ passphraseFile: "p", keyFile: "k" }, {})).toContain(
    "both --passphrase-file and --key-file",
  );
  const text = failure({}, { VARVE_PASSPHRASE_FILE: "p", VARVE_KEY_FILE: "k" });
  expect(text).toContain("both VARVE_PASSPHRASE_FILE and VARVE_KEY_FILE");
});

test("readSecret() throws when what is set is empty or absent", () => {
  expect(failure({}, { VARVE_PASSPHRASE: "" })).toBe(
    "Cannot use VARVE_PASSPHRASE as a passphrase: it is empty",
  );
  expect(failure({ passphraseFile: file("empty", "\n") }, {})).toContain("as a passphrase file: it is empty");
  expect(failure({ passphraseFile: "" }, {})).toStartWith('Cannot read the passphrase file ""');
  expect(failure({}, { VARVE_KEY_FILE: "" })).toStartWith('Cannot read the key file ""');
});
