/**
 * Every document that lies in a store or a cache, changed at random by somebody who has the keys: it is taken for what it
 * may be, or refused in one line that names it, and nothing else happens.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { fileRecordsFolder } from "../../src/cache/cache_folder.ts";
import { lookOf, recordedContent, recordFile } from "../../src/cache/file_record.ts";
import { PageCacheFile, writePageCache } from "../../src/cache/page_cache_file.ts";
import { macOf } from "../../src/cache/mac.ts";
import { openFront } from "../../src/codec/seal.ts";
import { readPoints } from "../../src/project/read_points.ts";
import { showBackup } from "../../src/project/catalog.ts";
import { surveyLeases } from "../../src/project/sharing/leases.ts";
import { listPlans } from "../../src/project/sharing/plans.ts";
import { openProject } from "../../src/project/open_project.ts";
import type { Project } from "../../src/project/project.ts";
import { openRepository, type Repository } from "../../src/project/repository.ts";
import { forgottenRecords } from "../../src/project/forgotten.ts";
import { readHold } from "../../src/project/holds.ts";
import { DamageError, describeError, VarveError } from "../../src/errors.ts";
import { fromUtf8, toHex } from "../../src/util/bytes.ts";
import { EntryList } from "../../src/format/entries.ts";
import * as layout from "../../src/format/layout.ts";
import { OBJECT_TYPE, type ObjectType } from "../../src/format/object.ts";
import { decodePatchFront } from "../../src/format/patch.ts";
import { backUp, newRepository, PROJECT, testContext, VOLUME } from "../kit/engine.ts";
import { mutated } from "../kit/mutations.ts";

const ID = "5e".repeat(16);
const LEASE = { state: "running", work: "backup", volume: VOLUME, host: "h", pid: 1, started_ms: 5 };
const HEAD = { waits: [ID], made_ms: 5 };

let folder: string;
let repository: Repository;
let project: Project;
let backup: string;
/** The newest manifest's. */
let info: string;
let pages: Uint8Array;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "varve-documents-"));
  repository = await newRepository();
  const [report] = await backUp(repository, [{ from: undefined, to: "a", sizeBytes: 9, extents: [] }]);
  backup = report!.backup;
  project = await openProject(repository, { name: PROJECT, secrets: [] }, testContext());
  const object = { type: OBJECT_TYPE.manifest, name: layout.manifestName(VOLUME, backup) };
  const { bytes, content } = await project.read(object, {});
  info = fromUtf8(openFront(bytes, { ...object, key: "k" }, project.firstKey))!;
  pages = content;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Writes what nobody's encoder would. */
async function plant(type: ObjectType, name: string, parts: { front?: Uint8Array; content: Uint8Array }) {
  await project.write({ type, name, ...parts }, { keys: project.firstKey });
}

/** Too large for any object of the type: that is not to be written, and was not looked for. */
function isTooLarge(error: unknown): boolean {
  return error instanceof VarveError && error.message.startsWith("Cannot write an object of ");
}

/** What `read` gives, or the refusal, which is as an operator should see it. */
async function valueOrRefusal<T>(read: () => T | Promise<T>, codes = ["damage"]): Promise<T | VarveError> {
  try {
    return await read();
  } catch (error) {
    expect(error).toBeInstanceOf(VarveError);
    expectRefusal(error as VarveError, codes);
    return error as VarveError;
  }
}

function expectRefusal(error: VarveError, codes = ["damage"]): void {
  const line = describeError(error);
  expect(codes).toContain(error.code);
  expect(line).toMatch(/^Cannot [^\p{C}]+$/u);
  expect(line.length).toBeLessThan(400);
  expect(line).not.toMatch(/undefined|NaN|is not a function|JSON Parse|Maximum call|Invalid|Unexpected/);
}

/** Runs `work` with the sealed document, changed at random. */
async function forMutations(
  document: () => unknown,
  work: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const bytes = mutated(document() as Parameters<typeof mutated>[0]);
  await fc.assert(
    fc.asyncProperty(bytes, async (bytes) => {
      try {
        await work(bytes);
      } catch (error) {
        if (!isTooLarge(error)) throw error;
      }
    }),
    { numRuns: 1000 },
  );
}

describe("whoever changes a document", () => {
  test("of a manifest makes it a point within bounds, or a damaged one", async () => {
    const name = layout.manifestName(VOLUME, backup);
    await forMutations(() => JSON.parse(info), async (front) => {
      await plant(OBJECT_TYPE.manifest, name, { front, content: pages });
      const points = await Array.fromAsync(readPoints(project, VOLUME, testContext()));
      expect(points.length).toBe(1);
      const read = points[0]!.info;
      if (read instanceof DamageError) {
        expect(read.key).toBe(project.objectKey(name));
        return expectRefusal(read);
      }
      expect(read).toMatchObject({ project: PROJECT, volume: VOLUME, backup, page_chunks: 1024 });
      expect(read.chunk_bytes).toBe(repository.chunkBytes);
      expect(Number.isSafeInteger(read.size_bytes)).toBe(true);
      expect(Object.keys(read)).not.toContain("later");
      expect(typeof read.host === "string" && read.host.length <= 255).toBe(true);
      expect(read.tags.every((tag) => typeof tag === "string" && tag.length <= 400)).toBe(true);
      for (const count of Object.values(read.chunks)) expect(Number.isSafeInteger(count)).toBe(true);
      expect(JSON.stringify(read).length).toBeLessThan(100_000);
      const point = { project: PROJECT, volume: VOLUME, point: backup, secrets: [] };
      await valueOrRefusal(() => showBackup(repository, point, testContext()));
    });
  });

  test("of a lease makes it one within bounds, or one that cannot be read", async () => {
    await forMutations(() => LEASE, async (content) => {
      await plant(OBJECT_TYPE.lease, layout.leaseName(Buffer.from(ID, "hex")), { content });
      const { living, dead } = await surveyLeases(project, 0, testContext());
      expect(living.length + dead.length).toBe(1);
      for (const { work, host, volume, started_ms, problem } of living) {
        if (work === "unknown") expectRefusal(new DamageError("k", problem!));
        expect(host.length + volume.length).toBeLessThan(500);
        if (started_ms !== null) new Date(started_ms).toISOString();
      }
    });
  });

  test("of a hold makes it one within bounds, or a damaged one", async () => {
    await forMutations(() => ({ reason: "case 1", host: "h" }), async (content) => {
      await plant(OBJECT_TYPE.hold, layout.holdName(VOLUME, backup), { content });
      const hold = await valueOrRefusal(() => readHold(project, { volume: VOLUME, backup }, testContext()));
      if (hold instanceof VarveError) return;
      expect(Object.keys(hold!).toSorted()).toEqual(["host", "reason"]);
      expect((hold!.reason ?? "").length + hold!.host.length).toBeLessThan(1300);
    });
  });

  test("of a plan's head makes it one within bounds, or unreadable", async () => {
    await forMutations(() => HEAD, async (front) => {
      await plant(OBJECT_TYPE.planHead, layout.planHeadName(ID), { front, content: new Uint8Array() });
      const [plan] = await listPlans(project, testContext());
      if (plan!.head === "unreadable") return;
      expect(plan!.head).toMatchObject({ points: [] });
      if (typeof plan!.head === "object") new Date(plan!.head.made_ms + 1e12).toISOString();
    });
  });

  test("of the names in a plan's head or a forget's record makes them manifests' names, or unreadable", async () => {
    const name = layout.manifestName(VOLUME, backup);
    const line = fc.oneof(
      fc.constant(name),
      fc.string(),
      fc.constantFrom(`${name}/`, "volumes/../x", `volumes/${backup}`),
    );
    const content = fc.oneof(
      fc.array(line, { maxLength: 4 }).map((lines) => Buffer.from(lines.join("\n"))),
      fc.uint8Array({ maxLength: 20 }),
    );
    await fc.assert(fc.asyncProperty(content, async (content) => {
      await plant(OBJECT_TYPE.planHead, layout.planHeadName(ID), {
        front: Buffer.from(JSON.stringify(HEAD)),
        content,
      });
      await plant(OBJECT_TYPE.forgotten, layout.forgottenName(ID), { content });
      const [plan] = await listPlans(project, testContext());
      const [record] = await forgottenRecords(project, testContext());
      const points = typeof plan!.head === "object" ? plan!.head.points : [];
      for (const name of points) expect(layout.parseManifestName(name)).toBeDefined();
      expect(record!.names).toEqual(points);
    }));
  });

  test("of a repository or a key, with a check sum that fits, is refused or read", async () => {
    const [key] = await Array.fromAsync(repository.store.list(`projects/${PROJECT}/keys/`), ({ key }) => key);
    for (const name of ["varve.json", key!]) {
      const bytes = await repository.store.get(name);
      const { varve, ...fields } = JSON.parse(fromUtf8(bytes)!.split("\n")[0]!);
      await forMutations(() => fields, async (changed) => {
        const line = `{"varve":${varve},${fromUtf8(changed)!.slice(1)}`;
        const sum = createHash("sha256").update(line).digest("hex");
        await repository.store.put(name, Buffer.from(`${line}\n${sum}\n`));
        const codes = ["damage", "format_version", "wrong_secret"];
        await valueOrRefusal(async () => {
          const { id, chunkBytes } = await openRepository(repository.store, testContext());
          expect(id).toMatch(/^[0-9a-f]{32}$/);
          expect(chunkBytes % 4096).toBe(0);
          await openProject(repository, { name: PROJECT, secrets: [] }, testContext());
        }, codes);
      });
      await repository.store.put(name, bytes);
    }
  });

  test("of the hash cache makes it one within bounds, or a damaged one", async () => {
    const path = join(folder, "hashes");
    const place = { root: folder, path: "hashes" };
    const head = { repository: "r", project: PROJECT, volume: VOLUME, backup, pages: 1 };
    await writePageCache(
      place,
      head,
      (async function* () {
        yield new EntryList(1).encode();
      })(),
    );
    const written = await readFile(path);
    await forMutations(() => ({ ...head, size: written.length }), async (json) => {
      const changed = Buffer.from(written);
      changed.writeUInt32LE(json.length, 32);
      changed.set(json.subarray(0, 4096 - 36), 36);
      changed.set(createHash("sha256").update(changed.subarray(32)).digest());
      await writeFile(path, changed.subarray(0, 4096 + 12 + 5));
      const cache = await PageCacheFile.open(place);
      if (cache === undefined || cache === "damaged") return;
      expect(Object.keys(cache.head).length).toBe(6);
      await cache.page(0)?.catch((error) => expect(error).toBeInstanceOf(RangeError));
      await cache.close();
    });
  });

  test("of a file's record makes it one within bounds, or none", async () => {
    const file = join(folder, "file");
    await writeFile(file, "x");
    const known = (await lookOf(file))!;
    const content = { repository: "r", project: PROJECT, volume: VOLUME, backup };
    const place = { root: folder, repositoryId: "r", project: PROJECT, key: new Uint8Array(32) };
    const records = join(folder, fileRecordsFolder(folder).path);
    await recordFile(place, file, { known, content });
    const [name] = await readdir(records);
    await forMutations(() => ({ look: known, content }), async (changed) => {
      const line = fromUtf8(changed)!;
      const mac = toHex(macOf(place.key, "file record", changed));
      await writeFile(join(records, name!), `${line}\n${mac}\n`, { mode: 0o600 });
      const recorded = await recordedContent(place, file);
      if (recorded !== undefined) {
        expect(Object.values(recorded).every((text) => text.length <= 200)).toBe(true);
      }
    });
  });
});

describe("bytes that may be anything", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(fc.constantFrom(0, 1, 2, 3, 255), { maxLength: 60 }).map((list) => new Uint8Array(list)),
    fc.nat(2 ** 32 - 1).map((length) => {
      const front = new Uint8Array(60);
      new DataView(front.buffer).setUint32(48, length, true);
      new DataView(front.buffer).setUint32(0, length, true);
      return front;
    }),
  );

  test("are entries or the front of a patch, or a RangeError", () => {
    fc.assert(
      fc.property(bytes, (bytes) => {
        for (const decode of [EntryList.decode, decodePatchFront]) {
          try {
            decode(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(RangeError);
            expect((error as Error).message).toMatch(/^(the|there|entry|bytes) /);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("are never an entry list that is written back in another way", () => {
    fc.assert(fc.property(bytes, (bytes) => {
      try {
        expect(toHex(EntryList.decode(bytes).encode())).toBe(toHex(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }));
  });
});
