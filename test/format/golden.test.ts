/** The golden repository: one small object of each kind, written once. Whoever changes the format, fails here. */
import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { openContent, openFront } from "../../src/codec/seal.ts";
import { deriveKeys } from "../../src/codec/keys.ts";
import { openProject } from "../../src/project/open_project.ts";
import { openRepository } from "../../src/project/repository.ts";
import { decodeLease, type LeaseContent } from "../../src/project/sharing/lease.ts";
import { fromHex, fromUtf8, toHex } from "../../src/util/bytes.ts";
import { EntryList, wholeAt } from "../../src/format/entries.ts";
import * as layout from "../../src/format/layout.ts";
import { decodeInfo } from "../../src/format/manifest.ts";
import { OBJECT_TYPE, type ObjectType } from "../../src/format/object.ts";
import { decodePatchFront } from "../../src/format/patch.ts";
import { decodeNames, decodePlanHead, shardHas } from "../../src/format/plan.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import * as golden from "../fixtures/format/golden.ts";
import { restoreTo, testContext } from "../kit/engine.ts";

const FOLDER = path.join(import.meta.dir, "../fixtures/format/repository");
const KEYS = deriveKeys(golden.PROJECT_SECRET, "plain");
const TEXT_ID = "d04c99afa4c04089452092f3e55237eb22f55365d43eddcfb0f70fc0eb14ad17";
const SHORT_ID = "14a1f1ffb7dfd0c5186307f3c201510ce634728642cee03b638e8ae8c3c4bb64";
const PAGE_ID = "70166daf7d94952bc09f9d6f4ab5e7202af87d40bc5b2c47e0a92c0b45c2529f";
const PATCH_ID = "f5c24901b46b9266d6eea62cec5b511bd51f57289c0898acd52f5e7a7960326a";
/** Of the chunk that the patch makes. */
const PATCHED_ID = "0b541ea5af8d1ca54ed9d6ccf3823ef2a51d7e6358585ebd9a7f763dfd8c9114";
/** Of the first block of the first chunk. */
const TEXT_LEAF = "e88e1883df71297b64b155a4d258ba2e";
const text = layout.parseChunkName(`chunks/${TEXT_ID.slice(0, 2)}/${TEXT_ID}`)!;
const short = layout.parseChunkName(`chunks/${SHORT_ID.slice(0, 2)}/${SHORT_ID}.${"1e".repeat(16)}`)!;
const patch = layout.parseChunkName(`chunks/${PATCH_ID.slice(0, 2)}/${PATCH_ID}`)!;
const page = layout.parseChunkName(`chunks/${PAGE_ID.slice(0, 2)}/${PAGE_ID}`)!;

const store = new MemoryStore();
for (const file of fs.readdirSync(FOLDER, { recursive: true, withFileTypes: true })) {
  if (!file.isFile()) continue;
  const full = path.join(file.parentPath, file.name);
  await store.put(path.relative(FOLDER, full), fs.readFileSync(full));
}
const repository = await openRepository(store, testContext());

async function object(type: ObjectType, name: string) {
  const key = layout.projectPrefix("plain") + name;
  const bytes = await store.get(key);
  const at = { type, name, key };
  return { content: () => openContent(bytes, at, KEYS), front: () => openFront(bytes, at, KEYS) };
}

describe("the golden repository of format 3", () => {
  test("is opened by openRepository()", () => {
    expect([repository.id, repository.chunkBytes]).toEqual([golden.REPOSITORY_ID, golden.CHUNK_BYTES]);
  });

  test.each(Object.entries(golden.HOLDERS))(
    "has a key that openProject() opens: %s",
    async (name, secret) => {
      const secrets = secret === undefined ? [] : [secret];
      const project = await openProject(repository, { name, secrets }, testContext());
      expect(project.firstKey).toEqual(deriveKeys(golden.PROJECT_SECRET, name));
    },
  );

  test("has a compressed chunk with its leaves", async () => {
    const chunk = await object(OBJECT_TYPE.chunk, layout.chunkName(text));
    expect(Buffer.compare(chunk.content(), golden.TEXT_CHUNK)).toBe(0);
    expect(chunk.front().length).toBe(16 * 16);
    expect(toHex(chunk.front().subarray(0, 16))).toBe(TEXT_LEAF);
  });

  test("has a short chunk that is not compressed, under the suffix of a lease", async () => {
    const chunk = await object(OBJECT_TYPE.chunk, layout.chunkName(short));
    expect(Buffer.compare(chunk.content(), golden.SHORT_CHUNK)).toBe(0);
    expect(chunk.front().length).toBe(3 * 16);
  });

  test("has a patch over the first chunk", async () => {
    const patched = await object(OBJECT_TYPE.patch, layout.chunkName(patch));
    const { base, length, blocks } = decodePatchFront(patched.front());
    expect({ base, length }).toEqual({ base: text, length: golden.CHUNK_BYTES });
    expect([...blocks.ranges()].map(({ block }) => block)).toEqual(golden.PATCHED_BLOCKS);
    const block = golden.SHORT_CHUNK.subarray(0, 4096);
    expect(Buffer.compare(patched.content(), Buffer.concat([block, block]))).toBe(0);
  });

  test("has a page that names all of them and zeros", async () => {
    const entries = EntryList.decode((await object(OBJECT_TYPE.page, layout.chunkName(page))).content());
    expect(entries.length).toBe(1024);
    expect([0, 1, 2, 3, 4, 1023].map((at) => entries.get(at))).toEqual([
      wholeAt(text),
      undefined,
      { id: fromHex(PATCHED_ID, 32)!, object: patch, base: text },
      wholeAt(short),
      undefined,
      undefined,
    ]);
  });

  test("has a manifest with its info in front, that names the page", async () => {
    const name = layout.manifestName(golden.VOLUME, golden.BACKUP);
    const manifest = await object(OBJECT_TYPE.manifest, name);
    const at = { key: name, project: "plain", volume: golden.VOLUME, backup: golden.BACKUP };
    expect(decodeInfo(manifest.front(), { ...at, chunkBytes: golden.CHUNK_BYTES })).toEqual(golden.INFO);
    const pages = EntryList.decode(manifest.content());
    expect([pages.length, pages.get(0)]).toEqual([1, wholeAt(page)]);
  });

  test("has a lease", async () => {
    const lease = await object(OBJECT_TYPE.lease, layout.leaseName(golden.LEASE_ID));
    expect(decodeLease(lease.content(), "k")).toEqual(golden.LEASE as LeaseContent);
  });

  test("has a hold", async () => {
    const hold = await object(OBJECT_TYPE.hold, layout.holdName(golden.VOLUME, golden.BACKUP));
    expect(JSON.parse(fromUtf8(hold.content())!)).toEqual(golden.HOLD);
  });

  test("has a plan that condemns the short chunk's plain key, and no other", async () => {
    const name = layout.planShardName(golden.PLAN_ID, short.id[0]!);
    const shard = (await object(OBJECT_TYPE.planShard, name)).content();
    expect(shardHas(shard, { id: short.id, lease: undefined })).toBe(true);
    expect(shardHas(shard, short)).toBe(false);
  });

  test("has the plan's head, with the points that it saw, and its end", async () => {
    const head = await object(OBJECT_TYPE.planHead, layout.planHeadName(golden.PLAN_ID));
    expect(decodePlanHead(head.front(), "k")).toEqual(golden.PLAN_HEAD);
    expect(decodeNames(head.content(), "k")).toEqual(golden.POINTS);
    const end = await object(OBJECT_TYPE.planEnd, layout.planEndName(golden.PLAN_ID));
    expect(end.content().length).toBe(0);
  });

  test("has the record of a forget", async () => {
    const record = await object(OBJECT_TYPE.forgotten, layout.forgottenName(toHex(golden.LEASE_ID)));
    expect(decodeNames(record.content(), "k")).toEqual(golden.POINTS);
  });

  test("has a mark", async () => {
    const mark = await object(OBJECT_TYPE.mark, layout.markName(text));
    expect(JSON.parse(fromUtf8(mark.content())!)).toEqual(golden.MARK);
  });

  test("is restored", async () => {
    const { report, target } = await restoreTo(repository, { project: "plain", volume: golden.VOLUME });
    const volume = new Uint8Array(golden.SIZE_BYTES);
    volume.set(golden.TEXT_CHUNK);
    volume.set(golden.PATCHED_CHUNK, 2 * golden.CHUNK_BYTES);
    volume.set(golden.SHORT_CHUNK, 3 * golden.CHUNK_BYTES);
    expect(Buffer.compare(target.bytes, volume)).toBe(0);
    expect(report.chunks).toEqual({ total: 4, zero: 1, matched: 0, written: 3 });
  });
});
