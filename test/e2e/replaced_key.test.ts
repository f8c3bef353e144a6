/** A project's key, replaced in the store by one that anybody can read, is not taken for its own. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmod, readdir, rm, writeFile } from "node:fs/promises";
import { deriveKeys } from "../../src/codec/keys.ts";
import { toHex } from "../../src/format/bytes.ts";
import { encodeCheckedJson } from "../../src/format/checked_json.ts";
import { expectOneLine, fullStream, noise, TestRepository } from "../helpers/repository.ts";

const BYTES = noise(100_000, "volume");
let repository: TestRepository;
let secret: string[];

beforeEach(async () => {
  repository = await TestRepository.make();
  await writeFile(repository.path("key"), noise(32, "key"));
  await chmod(repository.path("key"), 0o600);
  secret = ["--key-file", repository.path("key")];
  expect((await repository.run(["init", "vault", ...secret])).code).toBe(0);
});
afterEach(() => repository.remove());

/** All that whoever can write to the store needs is the project's name. */
async function replaceKey(): Promise<void> {
  const folder = `${repository.url}/projects/vault/keys`;
  for (const id of await readdir(folder)) await rm(`${folder}/${id}`);
  const forged = noise(32, "forged");
  const id = toHex(deriveKeys(forged, "vault").id);
  const holders = [{ kind: "none", secret: toHex(forged) }];
  await writeFile(`${folder}/${id}`, encodeCheckedJson({ project: "vault", key: id, holders }));
}

test("a host that has opened the project with its secret backs up nothing under it", async () => {
  await replaceKey();
  const backup = await repository.run(["backup", "vault/db", ...secret], { stdin: fullStream(BYTES) });
  expectOneLine(backup, { code: 3, line: 'Cannot open project "vault": it was encrypted when this host' });
  expect(await readdir(`${repository.url}/projects/vault`)).toEqual(["keys"]);
});

test("the line names the file to remove where the project was made anew", async () => {
  await replaceKey();
  const { stderr } = await repository.run(["backup", "vault/db", ...secret], { stdin: fullStream(BYTES) });
  await rm(/remove "([^"]+)"/.exec(stderr)![1]!);
  expect((await repository.run(["backup", "vault/db"], { stdin: fullStream(BYTES) })).code).toBe(0);
});

test("a project that is erased and made anew here without a secret is used", async () => {
  expect((await repository.run(["erase", "vault", "--yes-erase", "vault"])).code).toBe(0);
  expect((await repository.run(["init", "vault", "--no-encryption"])).code).toBe(0);
  expect((await repository.run(["backup", "vault/db"], { stdin: fullStream(BYTES) })).code).toBe(0);
});
