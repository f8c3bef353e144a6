/** Who can open a project and a repository, and what is said to all others. */
import { describe, expect, test } from "bun:test";
import { listBackups } from "../../src/project/catalog.ts";
import { initRepository, openRepository } from "../../src/project/repository.ts";
import type { Secret } from "../../src/project/open_project.ts";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import { decodeCheckedJson, encodeCheckedJson } from "../../src/format/checked_json.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import type { GetOptions } from "../../src/store/store.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  emptyRepository,
  errorOf,
  KEYS,
  keysOf,
  makeProject,
  MANIFESTS,
  newRepository,
  newStore,
  noiseChunks,
  restoreTo,
  testContext,
  through,
} from "../kit/engine.ts";
import { HookedStore, type StoreCall } from "../kit/hooked_store.ts";
import { data, type TestDiff } from "../kit/memory_source.ts";

const VOLUME = noiseChunks(1, 2);
const FULL: TestDiff = { sizeBytes: VOLUME.length, extents: [data(0, VOLUME)] };

const PASSPHRASE: Secret = { kind: "passphrase", passphrase: utf8("sesame") };
const KEY_FILE: Secret = { kind: "key-file", key: new Uint8Array(32).fill(1) };
const WRONG_PASSPHRASE: Secret = { kind: "passphrase", passphrase: utf8("Sesame") };
const OTHER_KEY: Secret = { kind: "key-file", key: new Uint8Array(32).fill(2) };

const SECRETS: [project: string, secret: Secret | undefined][] = [
  ["none", undefined],
  ["passphrase", PASSPHRASE],
  ["key", KEY_FILE],
];

/** One project for each kind of secret. */
const repository = await emptyRepository();
for (const [name, secret] of SECRETS) {
  await makeProject(repository, secret === undefined ? { name } : { name, secret });
  await backUp(repository, [FULL], at(name, secret));
}

function at(project: string, secret: Secret | undefined) {
  return secret === undefined ? { project } : { project, secret };
}

describe("a project", () => {
  test.each(SECRETS)("is opened with what it was made with: %s", async (project, secret) => {
    expect(Buffer.compare(await bytesOf(repository, at(project, secret)), VOLUME)).toBe(0);
  });

  test.each([PASSPHRASE, KEY_FILE])("that lies open is opened whatever else is given: %#", async (secret) => {
    expect(Buffer.compare(await bytesOf(repository, at("none", secret)), VOLUME)).toBe(0);
  });

  test("is opened by whichever of several secrets fits", async () => {
    const secrets = [OTHER_KEY, WRONG_PASSPHRASE, KEY_FILE, PASSPHRASE];
    for (const [project] of SECRETS) {
      expect(await listBackups(repository, { project, secrets }, testContext())).toHaveLength(1);
    }
  });

  const wrong: [project: string, secret: Secret | undefined, state: string][] = [
    ["passphrase", undefined, "it needs a passphrase: give --passphrase-file or VARVE_PASSPHRASE_FILE"],
    ["passphrase", KEY_FILE, "it needs a passphrase: give --passphrase-file or VARVE_PASSPHRASE_FILE"],
    ["passphrase", WRONG_PASSPHRASE, "the passphrase is wrong"],
    ["key", undefined, "it needs a key file: give --key-file or VARVE_KEY_FILE"],
    ["key", PASSPHRASE, "it needs a key file: give --key-file or VARVE_KEY_FILE"],
    ["key", OTHER_KEY, "the key file is wrong"],
  ];
  test.each(wrong)("made with %s is opened by nobody else: %#", async (project, secret, state) => {
    const before = await keysOf(repository.store, "");
    const works = [
      () => backUp(repository, [FULL], at(project, secret)),
      () => restoreTo(repository, at(project, secret)),
    ];
    for (const work of works) {
      const error = await errorOf(work());
      expect([error.code, error.message]).toEqual([
        "wrong_secret",
        `Cannot open project "${project}": ${state}`,
      ]);
    }
    expect(await keysOf(repository.store, "")).toEqual(before);
  });

  test("holds no secret in plain when it was made with one", async () => {
    for (const project of ["passphrase", "key"]) {
      const [key] = await keysOf(repository.store, `projects/${project}/keys/`);
      const text = fromUtf8(await repository.store.get(key!))!;
      expect(text).not.toContain('"secret"');
      expect(text).not.toContain("sesame");
    }
  });

  test("is made by nothing but init, and its volume not by a restore", async () => {
    const before = await keysOf(repository.store, "");
    for (const work of [() => restoreTo(repository), () => backUp(repository, [FULL])]) {
      const missing = await errorOf(work());
      expect([missing.code, missing.message]).toEqual([
        "not_found",
        expect.stringMatching(/^Cannot open project "acme": it does not exist in .*the repository has "key"/),
      ]);
    }
    const error = await errorOf(restoreTo(repository, { project: "none", volume: "new" }));
    expect([error.code, error.message]).toEqual([
      "not_found",
      expect.stringMatching(/^Cannot find "none\/new": it has no restore points; "none" has "/),
    ]);
    expect(await keysOf(repository.store, "")).toEqual(before);
  });

  test("says damage when its key stands under another's name", async () => {
    const repository = await newRepository();
    await backUp(repository, [FULL]);
    const [key] = await keysOf(repository.store, KEYS);
    await repository.store.put(`${KEYS}${"0".repeat(16)}`, await repository.store.get(key!));
    expect((await errorOf(restoreTo(repository))).code).toBe("damage");
  });
});

/** What stands instead of the object, with a check sum that fits. */
async function odd(prefix: string, change: (fields: Record<string, unknown>) => Record<string, unknown>) {
  const repository = await newRepository();
  await backUp(repository, [FULL]);
  const store = new HookedStore(repository.store, {
    change: (key, bytes) =>
      key.startsWith(prefix) ? encodeCheckedJson(change(decodeCheckedJson(bytes, key))) : bytes,
  });
  return through(repository, store);
}

describe("what no varve wrote", () => {
  test.each([
    ["no holders", { holders: undefined }],
    ["holders that are no list", { holders: { kind: "none" } }],
    ["a holder that is nothing", { holders: [null] }],
    ["a secret that is too short", { holders: [{ kind: "none", secret: "00" }] }],
    ["an id that is a number", { key: 7 }],
  ])("is damage when it is a key with %s", async (_, fields) => {
    const repository = await odd(KEYS, (rest) => ({ ...rest, ...fields }));
    for (const work of [() => restoreTo(repository), () => backUp(repository, [FULL])]) {
      const error = await errorOf(work());
      expect([error.code, error.message]).toEqual([
        "damage",
        expect.stringMatching(/: Cannot use the key "projects\/acme\/keys\/[0-9a-f]{16}": its? /),
      ]);
    }
  });

  test.each([
    ["no id", { repository: undefined }],
    ["an id that leads elsewhere", { repository: "../../../../etc" }],
    ["no chunk size", { chunk_bytes: undefined }],
    ["chunks that are too large", { chunk_bytes: 2 ** 40 }],
    ["a chunk size that is a text", { chunk_bytes: "65536" }],
  ])("is damage when it is a repository's file with %s", async (_, fields) => {
    const repository = await odd("varve.json", (rest) => ({ ...rest, ...fields }));
    const error = await errorOf(openRepository(repository.store, testContext()));
    expect([error.code, error.message]).toEqual([
      "damage",
      'Cannot open the repository "hooked:": its "varve.json" was not written by varve; restore it from a copy, or remove it ' +
      'and run "varve init", which leaves all projects unchanged',
    ]);
  });

  test("is not taken into memory when it has no end", async () => {
    const repository = await newRepository();
    await backUp(repository, [FULL]);
    const lengths: (number | undefined)[] = [];
    const store = Object.assign(new HookedStore(repository.store), {
      get: (key: string, options?: GetOptions) => {
        if (key === "varve.json" || key.startsWith(KEYS)) lengths.push(options?.range?.length);
        return repository.store.get(key, options);
      },
    });
    await restoreTo(await openRepository(store, testContext()));
    expect(lengths).toEqual([65_536, 65_536]);
  });
});

/** The repository as a later varve would have left the object: its version raised. */
async function later(prefix: string, raise: (bytes: Uint8Array) => Uint8Array) {
  const repository = await newRepository();
  await backUp(repository, [FULL]);
  const store = new HookedStore(repository.store, {
    change: (key, bytes) => key.startsWith(prefix) ? raise(bytes) : bytes,
  });
  return through(repository, store);
}

function raiseText(bytes: Uint8Array): Uint8Array {
  return utf8(fromUtf8(bytes)!.replace('{"varve":3', '{"varve":4'));
}

function raiseHeader(bytes: Uint8Array): Uint8Array {
  return bytes.with(5, 4);
}

describe("what a later varve wrote", () => {
  test.each([
    ["the repository", "varve.json", raiseText],
    ["a key", KEYS, raiseText],
    ["a manifest", MANIFESTS, raiseHeader],
  ])("is refused with format_version: %s", async (_, prefix, raise) => {
    const repository = await later(prefix, raise);
    const before = await keysOf(repository.store, "");
    const open = () => openRepository(repository.store, testContext());
    const works = [
      async () => await backUp(await open(), [FULL]),
      async () => await restoreTo(await open()),
    ];
    for (const work of works) {
      const error = await errorOf(work());
      expect([error.code, error.message]).toEqual([
        "format_version",
        expect.stringContaining("use a newer varve"),
      ]);
    }
    expect(await keysOf(repository.store, "")).toEqual(before);
  });
});

describe("initRepository()", () => {
  test.each([0, 4096, 65_535, 65_537, 33 << 20, NaN])("refuses chunks of %p bytes", async (chunkBytes) => {
    const store = newStore();
    expect((await errorOf(initRepository(store, { chunkBytes }, testContext()))).code).toBe("usage");
    expect(await keysOf(store, "")).toEqual([]);
  });

  test("refuses a store that holds a repository, and leaves it as it is", async () => {
    const first = await newRepository();
    const error = await errorOf(initRepository(first.store, { chunkBytes: CHUNK_BYTES }, testContext()));
    expect(error.code).toBe("conflict");
    expect((await openRepository(first.store, testContext())).id).toBe(first.id);
  });

  test.each(["before", "after"] as const)(
    "says conflict when another host makes one just %s it does",
    async (moment) => {
      const inner = newStore();
      let other: string | undefined;
      const store = new HookedStore(inner, {
        [moment]: async ({ op }: StoreCall) => {
          if (op !== "put" || other !== undefined) return;
          const racing = newStore();
          other = (await emptyRepository(racing)).id;
          await inner.put("varve.json", await racing.get("varve.json"));
        },
      });
      expect((await errorOf(emptyRepository(store))).code).toBe("conflict");
      expect((await openRepository(inner, testContext())).id).toBe(other!);
    },
  );

  test("takes its own for its own when the store wrote it and the answer was lost", async () => {
    const inner = newStore();
    const store = new HookedStore(inner, {
      before: async ({ op }) => {
        if (op === "put") await inner.put("varve.json", ours!);
      },
    });
    let ours: Uint8Array | undefined;
    const put = store.put.bind(store);
    store.put = (key, body, options) => put(key, ours = body, options);
    expect((await emptyRepository(store)).id).toMatch(/^[0-9a-f]{32}$/);
  });

  test("gives every repository an id of its own", async () => {
    expect((await newRepository()).id).not.toBe((await newRepository()).id);
  });
});

describe("openRepository()", () => {
  test("says no_repository when the store is empty", async () => {
    const error = await errorOf(openRepository(new MemoryStore(), testContext()));
    expect(error.code).toBe("no_repository");
    expect(error.message).toStartWith('Cannot open the repository "memory:": it does not exist');
  });
});
