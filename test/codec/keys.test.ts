/** Keys: how they derive from the secret, and who can unwrap it. */
import { describe, expect, test } from "bun:test";
import { createHmac, hkdfSync } from "node:crypto";
import { scrypt } from "@noble/hashes/scrypt.js";
import {
  deriveKeys,
  isRepositoryMac,
  openSecret,
  readHolders,
  repositoryMac,
  type Secret,
  unwrapSecret,
  type WrappedSecret,
  wrapSecret,
} from "../../src/codec/keys.ts";
import { concat, toHex, utf8 } from "../../src/util/bytes.ts";
import { flipBit } from "../kit/damage.ts";

const SECRET = new Uint8Array(32).map((_, i) => i);
const PROJECT = "acme";
const KEY_ID = deriveKeys(SECRET, PROJECT).id;
const PLACE = { project: PROJECT, keyId: KEY_ID };
const KEY_FILE = { kind: "key-file", key: new Uint8Array(32).fill(9) } as const;
const PASSPHRASE = { kind: "passphrase", passphrase: utf8("zw\u00f6lf Boxk\u00e4mpfer") } as const;

/** Bytes that count up: wrapping with them gives the same each time. */
function countingRandom(): (count: number) => Uint8Array {
  let next = 0;
  return (count) => new Uint8Array(count).map(() => next++);
}

function wrap(holder: Secret | undefined): Promise<WrappedSecret> {
  return wrapSecret(SECRET, { project: PROJECT, holder }, countingRandom());
}

const [none, byKeyFile, byPassphrase] = await Promise.all([
  wrap(undefined),
  wrap(KEY_FILE),
  wrap(PASSPHRASE),
]);

describe("deriveKeys()", () => {
  test("is HKDF-SHA-256 salted with the project's name, as another implementation gives it", () => {
    const derive = (purpose: string, length: number) =>
      toHex(new Uint8Array(hkdfSync("sha256", SECRET, PROJECT, `varve 3 ${purpose}`, length)));
    const keys = deriveKeys(SECRET, PROJECT);
    expect(toHex(keys.id)).toBe(derive("key id", 8));
    expect(toHex(keys.idKey)).toBe(derive("chunk id", 32));
    expect(toHex(keys.leafKey)).toBe(derive("leaf", 64));
    expect(toHex(keys.pageKey)).toBe(derive("page id", 32));
    expect(toHex(keys.patchKey)).toBe(derive("patch id", 32));
    expect(toHex(keys.dataKey)).toBe(derive("data", 32));
    expect(toHex(keys.repositoryKey)).toBe(derive("repository", 32));
  });
});

describe("repositoryMac()", () => {
  test("is HMAC-SHA-256 of the id's bytes under the repository key", () => {
    const keys = deriveKeys(SECRET, PROJECT);
    const [id, other] = ["0011223344556677".repeat(2), "8899aabbccddeeff".repeat(2)] as [string, string];
    const mac = createHmac("sha256", keys.repositoryKey).update(Buffer.from(id, "hex")).digest();
    expect(Buffer.compare(repositoryMac(keys, id), mac)).toBe(0);
    expect([isRepositoryMac(mac, keys, id), isRepositoryMac(mac, keys, other)]).toEqual([true, false]);
    expect(isRepositoryMac(mac.subarray(1), keys, id)).toBe(false);
    expect(isRepositoryMac(mac, deriveKeys(SECRET, "beta"), id)).toBe(false);
  });
});

describe("unwrapSecret()", () => {
  test("gives the secret to its holder", async () => {
    expect(openSecret(none)).toEqual(SECRET);
    expect(await unwrapSecret(byKeyFile, KEY_FILE, PLACE)).toEqual(SECRET);
    expect(await unwrapSecret(byPassphrase, PASSPHRASE, PLACE)).toEqual(SECRET);
  });

  test("takes the bytes of a passphrase as they are, also those that are no text", async () => {
    const holders = [[0xff, 0xfe, 0xfd], [0x80, 0x81, 0x82]]
      .map((bytes) => ({ kind: "passphrase", passphrase: new Uint8Array(bytes) }) as const);
    const wrapped = await wrap(holders[0]!);
    expect(await unwrapSecret(wrapped, holders[0]!, PLACE)).toEqual(SECRET);
    expect(await unwrapSecret(wrapped, holders[1]!, PLACE)).toBeUndefined();
  });

  test("gives nothing at another project's place", async () => {
    for (const [wrapped, holder] of [[byKeyFile, KEY_FILE], [byPassphrase, PASSPHRASE]] as const) {
      expect(await unwrapSecret(wrapped, holder, { ...PLACE, project: "beta" })).toBeUndefined();
    }
  });

  test("gives nothing for another passphrase, key file or kind of secret", async () => {
    const others: [WrappedSecret, Secret][] = [
      [byKeyFile, { kind: "key-file", key: new Uint8Array(32).fill(8) }],
      [byKeyFile, PASSPHRASE],
      [byPassphrase, { kind: "passphrase", passphrase: utf8("") }],
      [byPassphrase, { kind: "passphrase", passphrase: concat([PASSPHRASE.passphrase, utf8(" ")]) }],
      [byPassphrase, KEY_FILE],
    ];
    for (const [wrapped, holder] of others) {
      expect(await unwrapSecret(wrapped, holder, PLACE)).toBeUndefined();
    }
  });

  test("gives nothing when a bit of what is sealed, of the nonce or of the key's id is flipped", async () => {
    if (byKeyFile.kind !== "key-file") throw new Error("not wrapped for a key file");
    const { sealed, nonce } = byKeyFile;
    const flip = (hex: string, bit: number) => toHex(flipBit(Buffer.from(hex, "hex"), bit));
    for (let bit = 0; bit < sealed.length * 4; bit++) {
      const wrapped = { ...byKeyFile, sealed: flip(sealed, bit) };
      expect(await unwrapSecret(wrapped, KEY_FILE, PLACE)).toBeUndefined();
    }
    for (let bit = 0; bit < nonce.length * 4; bit++) {
      const wrapped = { ...byKeyFile, nonce: flip(nonce, bit) };
      expect(await unwrapSecret(wrapped, KEY_FILE, PLACE)).toBeUndefined();
    }
    expect(await unwrapSecret(byKeyFile, KEY_FILE, { ...PLACE, keyId: flipBit(KEY_ID, 0) })).toBeUndefined();
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
    { n: 2 ** 16 },
    { r: 4 },
    { n: 0 },
    { n: 1 },
    { n: 300_000 },
    { n: -131_072 },
    { r: 0 },
    { p: 0 },
    { p: 1.5 },
    { n: "131072" },
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
    expect({ N, r, p }).toEqual({ N: 131_072, r: 8, p: 1 });
    const key = scrypt(PASSPHRASE.passphrase, new Uint8Array(Buffer.from(salt, "hex")), {
      N,
      r,
      p,
      dkLen: 32,
    });
    const aes = await crypto.subtle.importKey("raw", new Uint8Array(key), "AES-GCM", false, ["decrypt"]);
    const opened = await crypto.subtle.decrypt(
      {
        name: "AES-GCM",
        iv: Buffer.from(nonce, "hex"),
        additionalData: Buffer.concat([KEY_ID, utf8(PROJECT)]),
      },
      aes,
      Buffer.from(sealed, "hex"),
    );
    expect(new Uint8Array(opened)).toEqual(SECRET);
  });

  test("takes a new salt and nonce each time", async () => {
    const random = countingRandom();
    const [first, second] = [
      await wrapSecret(SECRET, { project: PROJECT, holder: KEY_FILE }, random),
      await wrapSecret(SECRET, { project: PROJECT, holder: KEY_FILE }, random),
    ];
    expect(first).not.toEqual(second);
  });
});
