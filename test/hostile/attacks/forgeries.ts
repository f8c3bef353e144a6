/** Attacks on the project that is not encrypted: whatever is in it may be sealed as it should be, and say anything. */
import { utf8 } from "../../../src/util/bytes.ts";
import { chunkName, parseChunkName } from "../../../src/format/layout.ts";
import { OBJECT_TYPE } from "../../../src/format/object.ts";
import { encodeRef } from "../../../src/format/entries.ts";
import { pageId } from "../../../src/codec/ids.ts";
import type { Attack, Attacker } from "../attacker.ts";
import { type Forged, frameOfZeros, OPEN_PROJECT } from "../forger.ts";
import { le32 } from "../../kit/rbd_stream.ts";

const ESCAPE = "\u001b]0;gone\u0007\u001b[2J\r\nvarve: all is well\u009b31m";
const BIDI = "\u202etxet\u2066";
const MIB = 2 ** 20;

const ODD_VALUES: unknown[] = [
  0,
  -1,
  0.5,
  1,
  4096,
  65_537,
  131_072,
  32 * MIB,
  2 ** 31,
  2 ** 53,
  1e308,
  -1e308,
  "",
  "x",
  "../../../x",
  "beta",
  "db",
  "web/root",
  "9999-12-31T23:59:59.999Z",
  "+275760-09-13T00:00:00.000Z",
  "not a time",
  ESCAPE,
  BIDI,
  "\ud800",
  "x".repeat(MIB),
  null,
  true,
  [],
  {},
  [null],
  [ESCAPE, BIDI],
  Array.from({ length: 50_000 }, (_, i) => `tag${i}`),
  { base64: "////" },
  { base64: 5 },
  { base64: Buffer.from(ESCAPE).toString("base64") },
  { total: "x", changed: -1, zero: 1e308, new: null, patched: {}, reused: [] },
  { total: 1e308 },
];
/** In chunks of 64 KiB: what honest work on them takes is seen by its end or its answer to a signal. */
const GIANT_BYTES = [2 ** 40, 73 * 2 ** 40, 2 ** 52, 2 ** 52 + 4096, 2 ** 53];
/** Not JSON, or more of it than anybody needs. */
const ODD_TEXTS = [
  "",
  "null",
  "5",
  "[]",
  "{}",
  '"x"',
  "[".repeat(MIB),
  `${'{"a":'.repeat(200_000)}`,
  " ".repeat(8 * MIB),
  "\u0000",
];

const FORGERIES: Record<string, Attack> = {
  oddInfo: {
    weight: 6,
    act: (a) => {
      const field = a.pick([...Object.keys(a.forger.manifests[0]!.info), "passed_over", "source", "extra"]);
      const value = a.pick(ODD_VALUES);
      return writeManifest(a, {
        info: { [field]: value },
        what: `${field} ${JSON.stringify(value)?.slice(0, 60)}`,
      });
    },
  },
  oddSize: {
    weight: 2,
    act: (a) => {
      const size = a.pick([0, 1, 4095, 65_536, 2 ** 30, 2 ** 36, ...GIANT_BYTES]);
      a.plantedGiant ||= size > 2 ** 31;
      const pages = Math.min(Math.ceil(size / 65_536 / 1024), 1_200_000);
      const entries = a.once(3) ? undefined : zeroEntries(pages);
      return writeManifest(a, { info: { size_bytes: size }, pages: entries, what: `size_bytes ${size}` });
    },
  },
  oddPages: {
    weight: 3,
    act: (a) => writeManifest(a, { pages: oddEntries(a), what: "odd pages" }),
  },
  oddPage: {
    weight: 3,
    act: async (a) => {
      const content = oddEntries(a);
      const ref = { id: pageId(a.forger.key.pageKey, content), lease: undefined };
      await write(a, { type: OBJECT_TYPE.page, name: chunkName(ref), content });
      return await writeManifest(a, { pages: pagesOf([entryOf(ref)]), what: "an odd page" });
    },
  },
  oddText: {
    weight: 3,
    act: (a) => {
      const { name, pages } = a.pick(a.forger.manifests);
      const front = utf8(a.pick(ODD_TEXTS));
      return write(
        a,
        { type: OBJECT_TYPE.manifest, name, front, content: pages },
        `front of ${front.length} bytes`,
      );
    },
  },
  oddChunk: {
    weight: 3,
    act: (a) => {
      const name = a.pick(chunkNames(a));
      const type = a.pick([OBJECT_TYPE.chunk, OBJECT_TYPE.patch, OBJECT_TYPE.page]);
      const front = a.pick([
        new Uint8Array(),
        a.noise(16),
        a.noise(256),
        patchFront(a, name),
        a.noise(70_000),
      ]);
      const content = a.pick([new Uint8Array(), a.noise(4096), a.noise(65_536), a.noise(70_000)]);
      return write(a, { type, name, front, content }, `an odd object of type ${type}`);
    },
  },
  bomb: {
    weight: 2,
    act: (a) => {
      const [type, name] = a.pick(
        [
          [OBJECT_TYPE.chunk, a.pick(chunkNames(a))],
          [OBJECT_TYPE.page, a.pick(chunkNames(a))],
          [OBJECT_TYPE.manifest, a.pick(a.forger.manifests).name],
          [OBJECT_TYPE.lease, `leases/${a.hex(32)}`],
          [OBJECT_TYPE.hold, a.pick(a.forger.manifests).name.replace("volumes", "holds")],
          [OBJECT_TYPE.planHead, `gc/${a.hex(32)}/head`],
          [OBJECT_TYPE.forgotten, `forgotten/${a.hex(32)}`],
        ] as const,
      );
      const sizeBytes = a.pick([32, 255, 256]) * MIB;
      const front = type === OBJECT_TYPE.manifest ? infoOf(a) : utf8("{}");
      const plainBytes = a.pick([sizeBytes, sizeBytes, 65_536]);
      const content = frameOfZeros(sizeBytes);
      return write(
        a,
        { type, name, front, content, isFrame: true, plainBytes },
        `${sizeBytes} zeros in a small frame`,
      );
    },
  },
  oddLease: {
    weight: 3,
    act: (a) => {
      const lease: Record<string, unknown> = {
        state: "running",
        work: a.pick(["backup", "gc", "forget", "restore"]),
        volume: a.pick(["db", ESCAPE, BIDI]),
        host: a.pick(["h", ESCAPE, BIDI, "x".repeat(200_000)]),
        pid: 1,
        started_ms: a.pick([null, 253_402_300_799_999, 8.64e15, 8.64e15 + 1, -1, 1e308]),
      };
      if (a.once(2)) lease[a.pick(Object.keys(lease))] = a.pick(ODD_VALUES);
      return writeJson(a, { type: OBJECT_TYPE.lease, name: `leases/${a.hex(32)}` }, lease);
    },
  },
  oddPlan: {
    weight: 4,
    act: async (a) => {
      const plan = a.hex(32);
      const head = {
        waits: a.pick([
          [],
          ["x"],
          [ESCAPE],
          [a.hex(32)],
          Array.from({ length: 20_000 }, () => "0".repeat(32)),
          5,
        ]),
        made_ms: a.pick([0, -1, 1, 1e308, 253_402_300_799_999, "x", null]),
      };
      const content = utf8(a.pick(["", ESCAPE, "volumes/db/x", "\n".repeat(100_000), manifestNames(a)]));
      const front = utf8(a.once(4) ? a.pick(ODD_TEXTS) : JSON.stringify(head));
      await write(a, { type: OBJECT_TYPE.planHead, name: `gc/${plan}/head`, front, content });
      if (a.once(3)) {
        await write(a, { type: OBJECT_TYPE.planEnd, name: `gc/${plan}/end`, content: a.noise(10) });
      }
      const shard = a.once(3) ? a.noise(a.pick([1, 47, 4801])) : condemnAll(a);
      const name = `gc/${plan}/${a.pick(["all", "00"])}`;
      return await write(
        a,
        { type: OBJECT_TYPE.planShard, name, content: shard },
        `a plan with ${shard.length} bytes`,
      );
    },
  },
  oddForgotten: {
    weight: 2,
    act: (a) => {
      const content = utf8(a.pick([manifestNames(a), ESCAPE, "\n".repeat(MIB), "../../beta", "\ud800"]));
      return write(
        a,
        { type: OBJECT_TYPE.forgotten, name: `forgotten/${a.hex(32)}`, content },
        "a forget's record",
      );
    },
  },
  oddHold: {
    weight: 3,
    act: (a) => {
      const name = a.pick(a.forger.manifests).name.replace("volumes", "holds");
      const hold: Record<string, unknown> = { reason: a.pick(ODD_VALUES), host: a.pick(ODD_VALUES) };
      if (a.once(4)) {
        return write(a, { type: OBJECT_TYPE.hold, name, content: utf8(a.pick(ODD_TEXTS)) }, "odd text");
      }
      return writeJson(a, { type: OBJECT_TYPE.hold, name }, hold);
    },
  },
  oddMark: {
    weight: 2,
    act: (a) => {
      const name = a.pick(chunkNames(a)).replace("chunks", "marked");
      const mark = {
        found: a.pick(ODD_VALUES),
        reason: a.pick(ODD_VALUES),
        host: ESCAPE,
        at: a.pick(ODD_VALUES),
      };
      return writeJson(a, { type: OBJECT_TYPE.mark, name }, mark);
    },
  },
};

export const FORGED_ATTACKS: Record<string, Attack> = Object.fromEntries(
  Object.entries(FORGERIES).map(([name, attack]) => [name, { ...attack, forges: true }]),
);

interface ManifestChange {
  info?: Record<string, unknown>;
  pages?: Uint8Array | undefined;
  what: string;
}

/** In the place of one that is there, or as a new one; it says where it lies, unless that is what is changed. */
function writeManifest(a: Attacker, { info, pages, what }: ManifestChange): Promise<string> {
  const sample = a.pick(a.forger.manifests);
  const backup = a.once(2) ? sample.backup : `20991231T235959999Z-${a.hex(8)}`;
  const name = `volumes/${sample.volume}/${backup}`;
  const front = utf8(JSON.stringify({ ...sample.info, backup, ...info }));
  return write(a, { type: OBJECT_TYPE.manifest, name, front, content: pages ?? sample.pages }, what);
}

function writeJson(a: Attacker, object: Pick<Forged, "type" | "name">, value: unknown): Promise<string> {
  const text = JSON.stringify(value);
  return write(a, { ...object, content: utf8(text) }, text.slice(0, 100));
}

async function write(a: Attacker, object: Forged, what = ""): Promise<string> {
  return await a.write(`projects/${OPEN_PROJECT}/${object.name}`, a.forger.seal(object), `forged: ${what}`);
}

function infoOf(a: Attacker): Uint8Array {
  return utf8(JSON.stringify(a.pick(a.forger.manifests).info));
}

function chunkNames(a: Attacker): string[] {
  const prefix = `projects/${OPEN_PROJECT}/`;
  const keys = [...a.template.objects.keys()].filter((key) => key.startsWith(`${prefix}chunks/`));
  return keys.map((key) => key.slice(prefix.length));
}

function manifestNames(a: Attacker): string {
  return a.forger.manifests.map(({ name }) => name).join("\n");
}

/** A shard with every chunk of the project. */
function condemnAll(a: Attacker): Uint8Array {
  const records = chunkNames(a).map((name) => encodeRef(parseChunkName(name)!)).sort(Buffer.compare);
  return new Uint8Array(Buffer.concat(records));
}

/** A patch over itself, or over another patch; of a length that is too large for any. */
function patchFront(a: Attacker, name: string): Uint8Array {
  const base = parseChunkName(a.once(2) ? name : a.pick(chunkNames(a)))!;
  const length = a.pick([0, 4096, 65_536, 2 ** 25, 2 ** 32 - 1]);
  return new Uint8Array(Buffer.concat([encodeRef(base), le32(length), a.noise(a.pick([0, 1, 2, 1024]))]));
}

/** Docs/format.md, "Entries": of kind 0. */
function zeroEntries(count: number): Uint8Array {
  return new Uint8Array(Buffer.concat([le32(count), new Uint8Array(count)]));
}

function pagesOf(entries: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat([le32(entries.length), ...entries]));
}

function entryOf({ id }: { id: Uint8Array }): Uint8Array {
  return new Uint8Array([1, ...id]);
}

function oddEntries(a: Attacker): Uint8Array {
  const ref = () => encodeRef(parseChunkName(a.pick(chunkNames(a)))!);
  const one = ref();
  const entries = Array.from({ length: a.pick([0, 1, 2, 1024, 1025]) }, () =>
    a.pick([
      new Uint8Array([0]),
      new Uint8Array([1, ...ref().subarray(0, 32)]),
      new Uint8Array([2, ...ref()]),
      new Uint8Array([3, ...one.subarray(0, 32), ...one, ...one]), // over itself
      new Uint8Array([3, ...ref().subarray(0, 32), ...ref(), ...ref()]),
      new Uint8Array([1, ...a.noise(32)]),
    ]));
  const bytes = pagesOf(entries);
  if (a.once(5)) new DataView(bytes.buffer).setUint32(0, a.pick([0, 1, 2 ** 31, 2 ** 32 - 1]), true);
  if (a.once(8)) return new Uint8Array([...bytes, a.pick([0, 9])]);
  return a.once(8) ? bytes.subarray(0, bytes.length - 1) : bytes;
}
