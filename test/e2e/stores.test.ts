/** The same small history of a volume through every store, open and sealed, by the built program. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { BackupDetails } from "../../src/project/catalog.ts";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { noise } from "../kit/engine.ts";
import { describeWith } from "../kit/parts.ts";
import { applyDiff, encodeDiff, type TestRecord } from "../kit/rbd_stream.ts";
import type { VarveOptions } from "../kit/varve.ts";
import { sumOf } from "../kit/chains.ts";
import { type Place, PLACES } from "../kit/places.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { type Sum, Workbench } from "../kit/workbench.ts";

const MIB = 1 << 20;
const LIMIT_MS = 120_000;
const SIZE_BYTES = 20 * MIB + 512;

/** Each night's changes, upon the night before. */
const NIGHTS: [name: string, changes: TestRecord[]][] = [
  ["monday", [
    { tag: "w", offset: 0, data: noise(1, 9 * MIB) },
    { tag: "w", offset: 20 * MIB, data: noise(2, 512) },
  ]],
  ["tuesday", [{ tag: "w", offset: 5 * MIB + 1, data: noise(3, 70_000) }]],
  ["wednesday", [{ tag: "z", offset: 0, length: 4 * MIB }, {
    tag: "w",
    offset: 12 * MIB,
    data: noise(4, MIB),
  }]],
];
const STREAMS = NIGHTS.map(([name, changes], night) =>
  encodeDiff([
    ...night === 0 ? [] : [{ tag: "f" as const, name: NIGHTS[night - 1]![0] }],
    { tag: "t", name },
    { tag: "s", sizeBytes: SIZE_BYTES },
    ...changes,
    { tag: "e" },
  ])
);
const SUMS = sumsOfNights();

/** By a model that is a plain byte array. */
function sumsOfNights(): Sum[] {
  let volume: Uint8Array = new Uint8Array(SIZE_BYTES);
  return NIGHTS.map(([name, changes]) => {
    const extents = changes.map((record) => {
      if (record.tag === "w") {
        return { offset: Number(record.offset), length: record.data.length, data: record.data };
      }
      if (record.tag === "z") {
        return { offset: Number(record.offset), length: Number(record.length), data: undefined };
      }
      throw new Error("only data and zeros change a volume");
    });
    const names = { fromSnapshot: new Uint8Array(), toSnapshot: Buffer.from(name) };
    volume = applyDiff(volume, { ...names, sizeBytes: SIZE_BYTES, extents });
    return sumOf(volume);
  });
}

for (const [name, parts, start] of PLACES) {
  describeWith(parts, `varve with a repository in ${name}`, () => {
    let place: Place;
    let bench: Workbench;
    const folder = scratchFolder();

    beforeAll(async () => {
      place = await start();
      bench = new Workbench(folder, place.env);
      await writeFile(bench.path("key"), noise(7, 32), { mode: 0o600 });
      await writeFile(bench.path("another-key"), noise(8, 32), { mode: 0o600 });
      expect(await bench.run(["init", "acme", "again", "one", "two", "--no-encryption"])).toMatchObject({
        code: 0,
      });
    }, LIMIT_MS);
    afterAll(() => place?.stop(), LIMIT_MS);

    async function backUp(volume: string, night: number, options: VarveOptions = {}): Promise<BackupReport> {
      return await bench.json<BackupReport>(["backup", volume], { ...options, stdin: STREAMS[night]! });
    }

    async function expectPoints(volume: string): Promise<void> {
      expect((await bench.list(volume)).map(({ to_snapshot }) => to_snapshot))
        .toEqual(NIGHTS.map(([name]) => name));
      for (const [night, [name]] of NIGHTS.entries()) {
        expect(await bench.restoreToFile(`${volume}@${name}`, bench.path("restored"))).toEqual(SUMS[night]!);
      }
      expect(await bench.restoreToPipe(volume)).toEqual(SUMS.at(-1)!);
    }

    test("gives back a full backup and two increments", async () => {
      for (const night of NIGHTS.keys()) await backUp("acme/vm-1", night);
      await expectPoints("acme/vm-1");
    }, LIMIT_MS);

    test(
      "uploads nothing for what it holds: an identical backup, of the same volume or another",
      async () => {
        await backUp("again/vm-1", 0);
        const keys = () =>
          place.keys().then((keys) => keys.filter((key) => key.startsWith("projects/again/chunks/")));
        const before = await keys();
        for (const volume of ["again/vm-1", "again/vm-2"]) {
          const { chunks, uploaded_bytes } = await backUp(volume, 0);
          expect({ new: chunks.new, uploaded_bytes }).toEqual({ new: 0, uploaded_bytes: 0 });
          expect((await keys()).toSorted()).toEqual(before.toSorted());
          expect(await bench.restoreToPipe(volume)).toEqual(SUMS[0]!);
        }
        expect(before.length).toBeGreaterThan(3);
      },
      LIMIT_MS,
    );

    test("fetches nothing where the target holds the point already", async () => {
      await backUp("again/vm-3", 0);
      const file = bench.path("already");
      await bench.restoreToFile("again/vm-3", file);
      const report = await bench.json<RestoreReport>(["restore", "again/vm-3", "--to", file]);
      expect(report).toMatchObject({
        downloaded_bytes: 0,
        written_bytes: 0,
        chunks: { total: 6, matched: 6 },
      });
    }, LIMIT_MS);

    test("shares no key between two projects of the same content", async () => {
      for (const project of ["one", "two"]) await backUp(`${project}/vm-1`, 0);
      const names = async (project: string) => {
        const keys = (await place.keys()).filter((key) => key.startsWith(`projects/${project}/`));
        return keys.map((key) => key.slice(key.lastIndexOf("/") + 1));
      };
      const [one, two] = [await names("one"), await names("two")];
      expect(one.length).toBe(two.length);
      expect(new Set([...one, ...two]).size).toBe(one.length + two.length);
    }, LIMIT_MS);

    describe("and a project that is sealed", () => {
      const SECRETS: [
        kind: string,
        right: () => Record<string, string>,
        wrong: () => Record<string, string>,
      ][] = [
        ["passphrase", () => ({ VARVE_PASSPHRASE: "correct" }), () => ({ VARVE_PASSPHRASE: "horse" })],
        ["key-file", () => ({ VARVE_KEY_FILE: bench.path("key") }), () => ({
          VARVE_KEY_FILE: bench.path("another-key"),
        })],
      ];

      test.each(SECRETS)("with a %s gives its points back with that alone", async (kind, right, wrong) => {
        const volume = `sealed-${kind}/vm-1`;
        await bench.json(["init", `sealed-${kind}`], { env: right() });
        for (const night of [0, 1]) await backUp(volume, night, { env: right() });
        const details = await bench.json<BackupDetails>(["show", volume], { env: right() });
        expect(details.to_snapshot).toBe("tuesday");
        const sealed = new Workbench(folder, { ...place.env, ...right() });
        expect(await sealed.restoreToPipe(volume)).toEqual(SUMS[1]!);
        const before = await place.keys();
        const refused: [Record<string, string>, string[]][] = [
          [wrong(), ["show", volume]],
          [wrong(), ["backup", volume]],
          [{}, ["restore", volume, "--to", "-"]],
          [{}, ["list", `sealed-${kind}`]],
        ];
        for (const [env, args] of refused) {
          const { code, stdout, stderr } = await bench.run(args, { env, stdin: STREAMS[2]! });
          expect({ code, stdout, stderr }).toEqual({
            code: 13,
            stdout: "",
            stderr: expect.stringMatching(
              new RegExp(`^varve: Cannot open project "sealed-${kind}": [^\n]*\n$`),
            ),
          });
        }
        expect((await place.keys()).toSorted()).toEqual(before.toSorted());
      }, LIMIT_MS);
    });
  });
}
