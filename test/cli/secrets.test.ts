import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { readSecrets, type SecretOptions, warnOfShort } from "../../src/cli/secrets.ts";
import { describeError, UsageError } from "../../src/errors.ts";
import { counted } from "../../src/util/counted.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { scratchFolder } from "../kit/scratch.ts";

const folder = scratchFolder();

function file(name: string, content: string | Uint8Array, mode = 0o600): string {
  const to = path.join(folder, name);
  fs.rmSync(to, { force: true });
  fs.writeFileSync(to, content, { mode });
  fs.chmodSync(to, mode);
  return to;
}

/** What is read, and what is said of it. */
function read(options: SecretOptions, env: Record<string, string> = {}) {
  const warnings: string[] = [];
  return { ...readSecrets(options, env, (line) => warnings.push(line)), warnings };
}

function failure(options: SecretOptions, env: Record<string, string> = {}): string {
  try {
    return `no error: ${read(options, env).secrets.length}`;
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return describeError(error);
  }
}

const phrase = (text: string | Uint8Array) =>
  ({ kind: "passphrase", passphrase: typeof text === "string" ? utf8(text) : text }) as const;

test("readSecrets() returns nothing when nothing is given", () => {
  expect(read({}, { HOME: "/root" })).toEqual({ secrets: [], preferred: [], warnings: [] });
});

test("readSecrets() cuts exactly one newline from a passphrase file, and takes all other bytes as they are", () => {
  const contents: [string | Uint8Array, string | Uint8Array][] = [
    ["a b", "a b"],
    ["a b\n", "a b"],
    ["a b\n\n", "a b\n"],
    [" \u00fc ", " \u00fc "],
    [new Uint8Array([0xff, 0xfe, 0x0a]), new Uint8Array([0xff, 0xfe])],
  ];
  for (const [content, passphrase] of contents) {
    expect(read({ passphraseFile: [file("pass", content)] })).toEqual({
      secrets: [phrase(passphrase)],
      preferred: [phrase(passphrase)],
      warnings: [],
    });
  }
});

test("readSecrets() says what is odd about a file, and takes it all the same", () => {
  const cases: [content: string, mode: number, warning: string][] = [
    ["a b c d e f g\r\n", 0o600, "ends with CR LF; the CR is part"],
    ["\ufeffa b c d e f g\n", 0o600, "starts with a byte order mark"],
    ["a b c d e f g\n", 0o640, "is readable by other users (mode 0640); run chmod 600"],
  ];
  for (const [content, mode, warning] of cases) {
    const { secrets, warnings } = read({ passphraseFile: [file("odd", content, mode)] });
    expect(secrets).toEqual([phrase(content.slice(0, -1))]);
    expect(warnings).toEqual([expect.stringContaining(warning)]);
  }
});

test("readSecrets() reads 32 bytes of a key file, and throws where there are not as many", () => {
  const key = Uint8Array.from({ length: 32 }, (_, i) => i + 200);
  expect(read({ keyFile: [file("key", key)] }).secrets).toEqual([{ kind: "key-file", key }]);
  for (const length of [0, 31, 33]) {
    const short = file("short", new Uint8Array(length));
    expect(failure({ keyFile: [short] })).toBe(
      `Cannot use "${short}" as a key file: it has ${counted(length, "byte")} instead of 32`,
    );
  }
});

test("readSecrets() reads all that options and environment name, and prefers the options", () => {
  const [a, b] = [file("a", "a"), file("b", "b")];
  const keyFile = file("k", new Uint8Array(32));
  const key = { kind: "key-file", key: new Uint8Array(32) } as const;
  const env = { VARVE_PASSPHRASE_FILE: b, VARVE_KEY_FILE: keyFile, VARVE_PASSPHRASE: "c" };
  const ofEnv = [phrase("b"), key, phrase("c")];
  expect(read({ passphraseFile: [a], keyFile: [keyFile] }, env)).toEqual({
    secrets: [phrase("a"), key, ...ofEnv],
    preferred: [phrase("a"), key],
    warnings: [],
  });
  expect(read({}, env)).toEqual({ secrets: ofEnv, preferred: ofEnv, warnings: [] });
});

test("readSecrets() goes on without the environment's where the options have some", () => {
  const secrets = [phrase("a")];
  expect(read({ passphraseFile: [file("a", "a")] }, { VARVE_KEY_FILE: "/none" })).toEqual({
    secrets,
    preferred: secrets,
    warnings: [
      'Cannot read the key file "/none": no such file or directory (ENOENT); only the secrets of the options are used',
    ],
  });
});

test("readSecrets() takes no file of more than a MiB, and reads no device to its end", () => {
  const size = 1024 * 1024;
  const long = new Uint8Array(size);
  expect(read({ passphraseFile: [file("long", long)] }).secrets).toEqual([phrase(long)]);
  for (const path of [file("longer", new Uint8Array(size + 1)), "/dev/zero"]) {
    expect(failure({ passphraseFile: [path] })).toBe(
      `Cannot use "${path}" as a passphrase file: it has more than ${size} bytes`,
    );
    expect(failure({ keyFile: [path] })).toContain("more than");
  }
});

test("readSecrets() throws when what is set is empty or absent", () => {
  expect(failure({}, { VARVE_PASSPHRASE: "" })).toBe(
    "Cannot use VARVE_PASSPHRASE as a passphrase: it is empty",
  );
  expect(failure({ passphraseFile: [file("empty", "\n")] })).toContain("as a passphrase file: it is empty");
  expect(failure({ passphraseFile: [""] })).toStartWith('Cannot read the passphrase file ""');
  expect(failure({}, { VARVE_KEY_FILE: "" })).toStartWith('Cannot read the key file ""');
});

test("warnOfShort() speaks of passphrases alone, and of those that can be guessed", () => {
  const warnings: string[] = [];
  for (
    const secret of [
      undefined,
      { kind: "key-file", key: new Uint8Array(32) } as const,
      phrase("0123456789ab"),
    ]
  ) {
    warnOfShort(secret, (line) => warnings.push(line));
  }
  expect(warnings).toEqual([]);
  warnOfShort(phrase("0123456789a"), (line) => warnings.push(line));
  expect(warnings).toEqual([expect.stringContaining("has only 11 bytes")]);
});
