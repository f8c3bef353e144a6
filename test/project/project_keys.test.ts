/** Keys that were planted by whoever can write to the store. */
import { describe, expect, test } from "bun:test";
import { deriveKeys, repositoryMac, type Secret, type WrappedSecret } from "../../src/codec/keys.ts";
import { openProject } from "../../src/project/open_project.ts";
import { decodeCheckedJson, encodeCheckedJson } from "../../src/format/checked_json.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import {
  CHUNK_BYTES,
  emptyRepository,
  errorOf,
  KEYS,
  keysOf,
  makeProject,
  newStore,
  PROJECT,
  testContext,
} from "../kit/engine.ts";

const KEY_FILE: Secret = { kind: "key-file", key: new Uint8Array(32).fill(1) };
const PASSPHRASE: Secret = { kind: "passphrase", passphrase: utf8("open sesame, please") };

/** What anybody can make of 32 zeros. */
const OPEN_KEYS = deriveKeys(new Uint8Array(32), PROJECT);
const OPEN_ID = toHex(OPEN_KEYS.id);
const OPEN_HOLDER = { kind: "none", secret: "00".repeat(32) };

/** A project with a key that is wrapped for `secret`, and what `openProject` says of it with more keys beside. */
async function setUp(secret: Secret, repositoryId?: string) {
  const repository = await emptyRepository(newStore(), CHUNK_BYTES, repositoryId);
  await makeProject(repository, { secret });
  const [key] = await keysOf(repository.store, KEYS);
  const fields = decodeCheckedJson(await repository.store.get(key!), key!);
  const warnings: string[] = [];
  const log = { debug() {}, info() {}, error() {}, warn: (_: object, text: string) => warnings.push(text) };
  return {
    repository,
    fields,
    id: String(fields.key),
    holder: (fields.holders as WrappedSecret[])[0]!,
    warnings,
    plant: async (id: string, holders: unknown[], more: Record<string, unknown> = {}) => {
      const { varve: _, ...rest } = fields;
      await repository.store.put(KEYS + id, encodeCheckedJson({ ...rest, key: id, holders, ...more }));
    },
    plantOpen: async function () {
      const repository_mac = toHex(repositoryMac(OPEN_KEYS, repository.id));
      await this.plant(OPEN_ID, [OPEN_HOLDER], { repository_mac });
    },
    cut: (id: string) => repository.store.put(KEYS + id, new Uint8Array(10)),
    open: (secrets: readonly Secret[]) =>
      openProject(repository, { name: PROJECT, secrets }, testContext({ log })),
  };
}

/** As much as a reader takes of one holder: 32 times the work of ours. */
const DEAR = { n: 2 ** 18, r: 8, p: 16 };

describe("openProject()", () => {
  test("does no more work than it would for 16 holders, and says so", async () => {
    const { id, holder, plant, open } = await setUp(PASSPHRASE);
    await plant(id, Array(16).fill({ ...holder, ...DEAR }));
    const error = await errorOf(open([PASSPHRASE]));
    expect([error.code, error.message]).toEqual([
      "damage",
      `Cannot open project "acme": Cannot use the key "${KEYS}${id}": the keys would take too much work to ` +
      "unlock",
    ]);
  });

  test("opens by the holders that cost little, whatever lies beside", async () => {
    const { holder, plant, open, warnings, id } = await setUp(PASSPHRASE);
    for (const planted of ["0".repeat(16), "f".repeat(16)]) {
      await plant(planted, Array(16).fill({ ...holder, ...DEAR }));
    }
    const project = await open([PASSPHRASE]);
    expect([Buffer.from(project.firstKey.id).toString("hex"), project.encryption]).toEqual([
      id,
      "passphrase",
    ]);
    expect(warnings).toEqual([
      expect.stringContaining("the keys would take too much work"),
      expect.stringContaining("the keys would take too much work"),
    ]);
  });

  test("refuses a weaker scrypt than anybody ever wrote", async () => {
    const { id, holder, plant, open } = await setUp(PASSPHRASE);
    await plant(id, [{ ...holder, n: 2 ** 15 }]);
    expect((await errorOf(open([PASSPHRASE]))).message).toContain(
      "it has no valid key holders",
    );
  });

  test("does not use a key that lies open beside one that is sealed, with the secret or without", async () => {
    const made = await setUp(KEY_FILE);
    const { id, open, warnings } = made;
    await made.plantOpen();
    expect(Buffer.from((await open([KEY_FILE])).firstKey.id).toString("hex")).toBe(id);
    expect((await errorOf(open([]))).code).toBe("wrong_secret");
    expect(warnings).toEqual([expect.stringContaining(`"${KEYS}${OPEN_ID}": it is stored unprotected`)]);
  });

  test("does not use a key that lies open beside one that cannot be read, where a secret is given", async () => {
    const made = await setUp(KEY_FILE);
    const { id, open, cut } = made;
    await made.plantOpen();
    await cut(id);
    const error = await errorOf(open([KEY_FILE]));
    expect([error.code, error.message]).toEqual([
      "damage",
      expect.stringMatching(/^Cannot open project "acme": .*restore the project's own key$/),
    ]);
  });

  test("says that there are two keys where both open", async () => {
    const first = await setUp(KEY_FILE);
    const second = await setUp(KEY_FILE, first.repository.id);
    await first.plant(second.id, [second.holder], second.fields);
    await first.open([KEY_FILE]);
    const ids = [first.id, second.id].sort().join(", ");
    expect(first.warnings).toEqual([`project "acme" has 2 keys: ${ids}; new volumes use the first`]);
  });
});

describe("openProject() and a key of another repository", () => {
  test.each([KEY_FILE, PASSPHRASE])(
    "does not open by it, though the secret is the same: %#",
    async (secret) => {
      const [ours, theirs] = [await setUp(secret), await setUp(secret)];
      await ours.repository.store.delete([KEYS + ours.id]);
      await ours.plant(theirs.id, [theirs.holder], theirs.fields);
      const error = await errorOf(ours.open([secret]));
      expect([error.code, error.message]).toEqual([
        "damage",
        `Cannot open project "acme": Cannot use the key "${KEYS}${theirs.id}": it is the key of repository ` +
        `${theirs.repository.id}, and this is repository ${ours.repository.id}; restore the project's own key`,
      ]);
    },
  );

  test.each([
    ["as it is", {}],
    ["that says to be of this one", { repository: "ours" }],
    ["that says to be of this one, and has the proof of this one's key", {
      repository: "ours",
      repository_mac: "ours",
    }],
  ])("opens by its own, and names the other beside it: one %s", async (_, forged) => {
    const [ours, theirs] = [await setUp(KEY_FILE), await setUp(KEY_FILE)];
    const more = Object.fromEntries(Object.keys(forged).map((name) => [name, ours.fields[name]]));
    await ours.plant(theirs.id, [theirs.holder], { ...theirs.fields, ...more });
    expect(toHex((await ours.open([KEY_FILE])).firstKey.id)).toBe(ours.id);
    expect(ours.warnings).toEqual([expect.stringMatching(
      new RegExp(`${theirs.id}": (it is the key of repository|nothing proves that it is a key of this)`),
    )]);
  });

  test("does not open by one that only says to be of this one", async () => {
    const [ours, theirs] = [await setUp(KEY_FILE), await setUp(KEY_FILE)];
    await ours.repository.store.delete([KEYS + ours.id]);
    await ours.plant(theirs.id, [theirs.holder], { ...theirs.fields, repository: ours.repository.id });
    const error = await errorOf(ours.open([KEY_FILE]));
    expect([error.code, error.message]).toEqual([
      "damage",
      expect.stringContaining("nothing proves that it is a key of this repository"),
    ]);
  });

  test.each([
    ["no repository", { repository: undefined }],
    ["no proof", { repository_mac: undefined }],
    ["a proof that is cut", { repository_mac: "00" }],
  ])("takes a key with %s for damaged", async (_, more) => {
    const { id, holder, plant, open } = await setUp(KEY_FILE);
    await plant(id, [holder], more);
    expect((await errorOf(open([KEY_FILE]))).message).toContain(
      "it has no valid repository",
    );
  });
});
