/** The golden repository: one small object of each kind, written once. Whoever changes the format, fails here. */
import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { openContent, openFront } from "../../src/codec/seal.ts";
import { deriveKeys } from "../../src/codec/keys.ts";
import { openProject } from "../../src/engine/open_project.ts";
import { openRepository } from "../../src/engine/repository.ts";
import { fromHex, fromUtf8, toHex } from "../../src/format/bytes.ts";
import { EntryList, wholeAt } from "../../src/format/entries.ts";
import * as layout from "../../src/format/layout.ts";
import { decodeInfo } from "../../src/format/manifest.ts";
import { OBJECT_TYPE, type ObjectType } from "../../src/format/object.ts";
import { decodePatchFront } from "../../src/format/patch.ts";
import { decodeNames, decodePlanHead, shardHas } from "../../src/format/plan.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import * as golden from "../fixtures/format/golden.ts";
import { restoreTo, testContext } from "../helpers/engine.ts";

const FOLDER = path.join(import.meta.dir, "../fixtures/format/repository");
const KEYS = deriveKeys(golden.PROJECT_SECRET, "plain");
const TEXT_ID = "ecc109b38beed6936df0d6560c96ad28129c47ee017730f5e0e4eb03fc4f9d04";
const SHORT_ID = "d91bacac1e992603bd92179f06fbaab845e15d0e63426255cd9552587f8ec413";
const PAGE_ID = "36c89217090b575dee2bbb6f2efd0c0de1e379a46b71f8ed30a56f0e1db8193d";
const PATCH_ID = "3598590dda22311b3769cfc248cea64115635944c7f0bb7e75ded31400dd965a";
/** Of the chunk that the patch makes. */
const PATCHED_ID = "99398c08ec0bb7d115de28b6406dd63f3030e759c1319b2df0d025c4b0fe7b84";
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
    expect(toHex(chunk.front().subarray(0, 16))).toBe("3c1113c770b082acf6e380e910459601");
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
    const at = { key: name, volume: golden.VOLUME, backup: golden.BACKUP };
    expect(decodeInfo(manifest.front(), at)).toEqual(golden.INFO);
    const pages = EntryList.decode(manifest.content());
    expect([pages.length, pages.get(0)]).toEqual([1, wholeAt(page)]);
  });

  test("has a lease", async () => {
    const lease = await object(OBJECT_TYPE.lease, layout.leaseName(golden.LEASE_ID));
    expect(JSON.parse(fromUtf8(lease.content())!)).toEqual(golden.LEASE);
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
    expect(decodePlanHead(head.front())).toEqual(golden.PLAN_HEAD);
    expect(decodeNames(head.content())).toEqual(golden.POINTS);
    const end = await object(OBJECT_TYPE.planEnd, layout.planEndName(golden.PLAN_ID));
    expect(end.content().length).toBe(0);
  });

  test("has the record of a forget", async () => {
    const record = await object(OBJECT_TYPE.forgotten, layout.forgottenName(toHex(golden.LEASE_ID)));
    expect(decodeNames(record.content())).toEqual(golden.POINTS);
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
