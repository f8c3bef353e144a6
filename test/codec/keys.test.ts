/** Keys: how they derive from the secret, and who can unwrap it. */
import { describe, expect, test } from "bun:test";
import { hkdfSync } from "node:crypto";
import { scrypt } from "@noble/hashes/scrypt.js";
import {
  deriveKeys,
  readHolders,
  type Secret,
  unwrapSecret,
  type WrappedSecret,
  wrapSecret,
} from "../../src/codec/keys.ts";
import { toHex } from "../../src/format/bytes.ts";
import { flipBit } from "../helpers/damage.ts";

const SECRET = new Uint8Array(32).map((_, i) => i);
const KEY_ID = deriveKeys(SECRET).id;
const NONE: Secret = { kind: "none" };
const KEY_FILE: Secret = { kind: "key", key: new Uint8Array(32).fill(9) };
const PASSPHRASE: Secret = { kind: "passphrase", passphrase: "zw\u00f6lf Boxk\u00e4mpfer" };

/** Bytes that count up: wrapping with them gives the same each time. */
function countingRandom(): (count: number) => Uint8Array {
  let next = 0;
  return (count) => new Uint8Array(count).map(() => next++);
}

function wrap(holder: Secret): Promise<WrappedSecret> {
  return wrapSecret(SECRET, holder, countingRandom());
}

const [none, byKeyFile, byPassphrase] = await Promise.all([wrap(NONE), wrap(KEY_FILE), wrap(PASSPHRASE)]);

describe("deriveKeys()", () => {
  test("is HKDF-SHA-256 without a salt, as another implementation gives it", () => {
    const derive = (purpose: string, length: number) =>
      toHex(new Uint8Array(hkdfSync("sha256", SECRET, "", `varve 2 ${purpose}`, length)));
    const keys = deriveKeys(SECRET);
    expect(toHex(keys.id)).toBe(derive("key id", 8));
    expect(toHex(keys.idKey)).toBe(derive("chunk id", 32));
    expect(toHex(keys.leafKey)).toBe(derive("leaf", 64));
    expect(toHex(keys.pageKey)).toBe(derive("page id", 32));
    expect(toHex(keys.patchKey)).toBe(derive("patch id", 32));
    expect(toHex(keys.dataKey)).toBe(derive("data", 32));
  });
});

describe("unwrapSecret()", () => {
  test("gives the secret to its holder", async () => {
    expect(await unwrapSecret(none, NONE, KEY_ID)).toEqual(SECRET);
    expect(await unwrapSecret(byKeyFile, KEY_FILE, KEY_ID)).toEqual(SECRET);
    expect(await unwrapSecret(byPassphrase, PASSPHRASE, KEY_ID)).toEqual(SECRET);
  });

  test("takes a passphrase that is typed in another Unicode form for the same", async () => {
    const typed = { kind: "passphrase", passphrase: PASSPHRASE.passphrase.normalize("NFD") } as const;
    expect(typed.passphrase).not.toBe(PASSPHRASE.passphrase);
    expect(await unwrapSecret(byPassphrase, typed, KEY_ID)).toEqual(SECRET);
  });

  test("gives nothing for another passphrase, key file or kind of secret", async () => {
    const others: [WrappedSecret, Secret][] = [
      [byKeyFile, { kind: "key", key: new Uint8Array(32).fill(8) }],
      [byKeyFile, PASSPHRASE],
      [byKeyFile, NONE],
      [byPassphrase, { kind: "passphrase", passphrase: "" }],
      [byPassphrase, { kind: "passphrase", passphrase: `${PASSPHRASE.passphrase} ` }],
      [byPassphrase, KEY_FILE],
      [byPassphrase, NONE],
    ];
    for (const [wrapped, holder] of others) {
      expect(await unwrapSecret(wrapped, holder, KEY_ID)).toBeUndefined();
    }
  });

  test("gives nothing when a bit of what is sealed, of the nonce or of the key's id is flipped", async () => {
    if (byKeyFile.kind !== "key") throw new Error("not wrapped for a key file");
    const { sealed, nonce } = byKeyFile;
    const flip = (hex: string, bit: number) => toHex(flipBit(Buffer.from(hex, "hex"), bit));
    for (let bit = 0; bit < sealed.length * 4; bit++) {
      const wrapped = { ...byKeyFile, sealed: flip(sealed, bit) };
      expect(await unwrapSecret(wrapped, KEY_FILE, KEY_ID)).toBeUndefined();
    }
    for (let bit = 0; bit < nonce.length * 4; bit++) {
      const wrapped = { ...byKeyFile, nonce: flip(nonce, bit) };
      expect(await unwrapSecret(wrapped, KEY_FILE, KEY_ID)).toBeUndefined();
    }
    expect(await unwrapSecret(byKeyFile, KEY_FILE, flipBit(KEY_ID, 0))).toBeUndefined();
  });
});

describe("readHolders()", () => {
  test("gives what wrapSecret() makes", () => {
    const holders = [none, byKeyFile, byPassphrase];
    expect(readHolders(JSON.parse(JSON.stringify(holders)))).toEqual(holders);
  });

  const others: Record<string, unknown> = {
    "nothing": undefined,
    "an object": {},
    "none": [],
    "more than anyone has": Array(17).fill({ kind: "none", secret: "00".repeat(32) }),
    "a null": [null],
    "a text": ["none"],
    "no kind": [{ secret: "00".repeat(32) }],
    "an unknown kind": [{ kind: "token", secret: "00".repeat(32) }],
    "no secret": [{ kind: "none" }],
    "a secret that is a number": [{ kind: "none", secret: 7 }],
  };
  test.each(Object.entries(others))("refuses %s", (_, holders) => {
    expect(readHolders(holders)).toBeUndefined();
  });

  test("refuses what is sealed, a nonce or a salt that is cut, longer or no hex", () => {
    for (const [wrapped, fields] of [[byKeyFile, ["sealed", "nonce"]], [byPassphrase, ["salt"]]] as const) {
      for (const field of fields) {
        const text = (wrapped as unknown as Record<string, string>)[field]!;
        for (const other of ["", text.slice(2), `${text}00`, text.replace(/../, "zz"), null]) {
          expect(readHolders([{ ...wrapped, [field]: other }])).toBeUndefined();
        }
      }
    }
  });

  test.each([
    { n: 2 ** 30 },
    { n: 2 ** 19, r: 8 },
    { r: 2 ** 20 },
    { r: 2 ** 40 },
    { p: 17 },
    { p: 2 ** 31 },
    { n: 0 },
    { n: 1 },
    { n: 30_000 },
    { n: -32_768 },
    { r: 0 },
    { p: 0 },
    { p: 1.5 },
    { n: "32768" },
    { n: null },
    { n: 1e308 },
  ])("refuses scrypt with %j, which nobody could pay for, or is none", (cost) => {
    expect(readHolders([{ ...byPassphrase, ...cost }])).toBeUndefined();
  });

  test("takes scrypt that costs more than today's and still fits", () => {
    const holders = [{ ...byPassphrase, n: 2 ** 18, r: 8, p: 16 }];
    expect(readHolders(holders)).toEqual(holders as WrappedSecret[]);
  });
});

describe("wrapSecret()", () => {
  test("keeps the secret out of what it writes, unless there is no holder", () => {
    expect(JSON.stringify(none)).toContain(toHex(SECRET));
    for (const wrapped of [byKeyFile, byPassphrase]) {
      expect(JSON.stringify(wrapped)).not.toContain(toHex(SECRET));
    }
  });

  test("stretches a passphrase by scrypt, as another implementation gives it", async () => {
    if (byPassphrase.kind !== "passphrase") throw new Error("not wrapped for a passphrase");
    const { n: N, r, p, salt, nonce, sealed } = byPassphrase;
    expect({ N, r, p }).toEqual({ N: 32768, r: 8, p: 3 });
    const passphrase = PASSPHRASE.passphrase.normalize("NFC");
    const key = scrypt(passphrase, new Uint8Array(Buffer.from(salt, "hex")), { N, r, p, dkLen: 32 });
    const aes = await crypto.subtle.importKey("raw", new Uint8Array(key), "AES-GCM", false, ["decrypt"]);
    const opened = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: Buffer.from(nonce, "hex"), additionalData: new Uint8Array(KEY_ID) },
      aes,
      Buffer.from(sealed, "hex"),
    );
    expect(new Uint8Array(opened)).toEqual(SECRET);
  });

  test("takes a new salt and nonce each time", async () => {
    const random = countingRandom();
    const [first, second] = [
      await wrapSecret(SECRET, KEY_FILE, random),
      await wrapSecret(SECRET, KEY_FILE, random),
    ];
    expect(first).not.toEqual(second);
  });
});
