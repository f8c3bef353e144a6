/** Keys and what they stand for, there and back; a stray file in the store is nothing of varve's. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { backupId } from "../../src/format/backup_id.ts";
import { toHex } from "../../src/util/bytes.ts";
import {
  chunkName,
  holdName,
  keyName,
  leaseName,
  manifestName,
  manifestsPrefix,
  markName,
  parseChunkName,
  parseManifestName,
  parseMarkName,
  parsePlanName,
  planEndName,
  planHeadName,
  planShardName,
  projectPrefix,
} from "../../src/format/layout.ts";
import { assertVolumeName } from "../../src/format/names.ts";

const id = fc.uint8Array({ minLength: 32, maxLength: 32 });
const lease = fc.uint8Array({ minLength: 16, maxLength: 16 });
const ID = new Uint8Array(32).fill(0xab);
const LEASE = new Uint8Array(16).fill(0xcd);
const BACKUP = backupId(0, new Uint8Array(4));

test("the layout is that of format 1", () => {
  expect(projectPrefix("acme")).toBe("projects/acme/");
  expect(keyName("0011")).toBe("keys/0011");
  expect(chunkName({ id: ID, lease: undefined })).toBe(`chunks/ab/${"ab".repeat(32)}`);
  expect(chunkName({ id: ID, lease: LEASE })).toBe(`chunks/ab/${"ab".repeat(32)}.${"cd".repeat(16)}`);
  expect(manifestsPrefix("rbd/vm-1")).toBe("volumes/rbd/vm-1/");
  expect(manifestName("rbd/vm-1", BACKUP)).toBe("volumes/rbd/vm-1/19700101T000000000Z-00000000");
  expect(holdName("rbd/vm-1", BACKUP)).toBe("holds/rbd/vm-1/19700101T000000000Z-00000000");
  expect(leaseName(LEASE)).toBe(`leases/${"cd".repeat(16)}`);
  expect(markName({ id: ID, lease: LEASE })).toBe(`marked/ab/${"ab".repeat(32)}.${"cd".repeat(16)}`);
  expect(planShardName("ef".repeat(16), 10)).toBe(`gc/${"ef".repeat(16)}/0a`);
});

describe("parseChunkName()", () => {
  test("gives back what chunkName() was made from", () => {
    fc.assert(fc.property(id, fc.option(lease, { nil: undefined }), (id, lease) => {
      expect(parseChunkName(chunkName({ id, lease }))).toEqual({ id, lease });
    }));
  });

  const hex = "ab".repeat(32);
  test.each([
    "",
    `chunks/ab/${hex}.`,
    `chunks/cd/${hex}`,
    `chunks/${hex}`,
    `chunks/ab/${hex.toUpperCase()}`,
    `chunks/ab/${hex.slice(2)}`,
    `chunks/ab/${hex}00`,
    `chunks/ab/${hex}.${"cd".repeat(15)}`,
    `chunks/ab/${hex}\n`,
    `chunks/ab/.${hex}.tmp`,
    `gc/ab/${hex}`,
  ])("takes %p for nothing of its own", (name) => expect(parseChunkName(name)).toBeUndefined());
});

describe("parseMarkName()", () => {
  test("gives back what markName() was made from", () => {
    fc.assert(fc.property(id, fc.option(lease, { nil: undefined }), (id, lease) => {
      expect(parseMarkName(markName({ id, lease }))).toEqual({ id, lease });
    }));
  });

  test.each(["", "marked/", `chunks/ab/${"ab".repeat(32)}`, "marked/ab/.DS_Store"])(
    "takes %p for nothing of its own",
    (name) => expect(parseMarkName(name)).toBeUndefined(),
  );
});

describe("parseManifestName()", () => {
  test("gives back what manifestName() was made from, for every name that a volume may have", () => {
    const segment = fc.stringMatching(/^[a-z0-9_][a-z0-9_.:+=,~-]{0,20}$/);
    fc.assert(fc.property(fc.array(segment, { minLength: 1, maxLength: 5 }), fc.nat(), (parts, ms) => {
      const volume = parts.join("/");
      assertVolumeName(volume);
      const backup = backupId(ms, new Uint8Array(4));
      expect(parseManifestName(manifestName(volume, backup))).toEqual({ volume, backup });
    }));
  });

  test.each([
    "",
    BACKUP,
    `volumes/${BACKUP}`,
    `volumes/v/${BACKUP}x`,
    `volumes/v/`,
    "volumes/v",
    `chunks/v/${BACKUP}`,
  ])(
    "takes %p for nothing of its own",
    (name) => expect(parseManifestName(name)).toBeUndefined(),
  );
});

describe("parsePlanName()", () => {
  const plan = toHex(LEASE);

  test("gives back what planShardName() was made from", () => {
    for (const shard of [...Array(256).keys(), "all" as const]) {
      expect(parsePlanName(planShardName(plan, shard))).toEqual({ plan, part: { shard } });
    }
  });

  test("knows a plan's head and end", () => {
    expect(parsePlanName(planHeadName(plan))).toEqual({ plan, part: "head" });
    expect(parsePlanName(planEndName(plan))).toEqual({ plan, part: "end" });
  });

  test.each([
    "",
    `gc/${plan}`,
    `gc/${plan}/heads`,
    `gc/${plan}/0`,
    `gc/${plan}/0A`,
    `gc/${plan}/000`,
    `gc/x/00`,
  ])(
    "takes %p for nothing of its own",
    (name) => expect(parsePlanName(name)).toBeUndefined(),
  );
});
