/** Keys: how they derive from the secret, and who can unwrap it. */
import { describe, expect, test } from "bun:test";
import { hkdfSync, scryptSync } from "node:crypto";
import {
  deriveKeys,
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
      toHex(new Uint8Array(hkdfSync("sha256", SECRET, "", `varve 1 ${purpose}`, length)));
    const keys = deriveKeys(SECRET);
    expect(toHex(keys.id)).toBe(derive("key id", 8));
    expect(toHex(keys.idKey)).toBe(derive("chunk id", 32));
    expect(toHex(keys.pageKey)).toBe(derive("page id", 32));
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

  test("gives nothing when what is sealed is cut or longer", async () => {
    if (byKeyFile.kind !== "key") throw new Error("not wrapped for a key file");
    for (const sealed of ["", byKeyFile.sealed.slice(2), `${byKeyFile.sealed}00`]) {
      expect(await unwrapSecret({ ...byKeyFile, sealed }, KEY_FILE, KEY_ID)).toBeUndefined();
    }
  });

  test("gives nothing, at once, when it would have to take gigabytes for scrypt", async () => {
    if (byPassphrase.kind !== "passphrase") throw new Error("not wrapped for a passphrase");
    expect(await unwrapSecret({ ...byPassphrase, n: 2 ** 30 }, PASSPHRASE, KEY_ID)).toBeUndefined();
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
    const key = scryptSync(PASSPHRASE.passphrase.normalize("NFC"), Buffer.from(salt, "hex"), 32, {
      ...{ N, r, p },
      maxmem: 2 ** 27,
    });
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
