/** What is measured, with which programs: docs/performance.md tells the reader of it. */
import { type Contender, Contenders, type ContendersOptions } from "./contenders.ts";
import type { Volume } from "./images.ts";
import { limitsIn } from "./limits.ts";
import type { Program, Source } from "./programs.ts";

export interface Case {
  /** For `--only`. */
  key: string;
  name: string;
  contenders: Contender[];
  /** The case whose peers do the same work as they would in this one. */
  peersOf?: string;
  /** At most so many. */
  runsMax?: number;
}

export function casesOf(options: ContendersOptions, peers: Program[]): Case[] {
  const { images, scratch, buckets } = options;
  const { main, large, small, empty, parts } = images;
  const contenders = new Contenders(options);
  const { plain, sealed, raw } = contenders;
  const all = [plain, ...peers, sealed];
  const limits = limitsIn(scratch);
  const nothing = { ...empty, image: main.base };
  const fullLimits = [limits.pipe(main.full), limits.hashAndCompress(main.full, parts.full)];
  const restoreLimits = [limits.decompressAndHash(parts.compressed, parts.full), limits.diskWrite(main.full)];

  const cases: Case[] = [
    {
      key: "full",
      name: "full, directory",
      contenders: [
        ...all.map((program) => contenders.full(program)),
        ...fullLimits,
        limits.diskWrite(images.compressed),
      ],
    },
    {
      key: "unchanged",
      name: "unchanged",
      contenders: [
        ...[plain, raw, ...peers].map((program) => contenders.again(program, main, { source: nothing })),
        limits.hash(parts.base),
      ],
    },
    {
      key: "changed",
      name: "5 % changed",
      contenders: [
        ...[plain, ...peers].map((program) => contenders.again(program, main)),
        limits.pipe(main.increment),
        limits.hashAndCompress(main.increment, parts.increment),
      ],
    },
    {
      key: "changed-large",
      name: "5 % changed, the same in 20 GiB",
      contenders: [plain, ...peers].map((program) => contenders.again(program, large)),
    },
    {
      key: "small-writes",
      name: "1,000 random writes of 4 KiB in 1 GiB",
      contenders: [plain, ...peers].map((program) => contenders.again(program, small)),
    },
    {
      key: "restore",
      name: "restore to new",
      contenders: [
        ...all.map((program) => contenders.restore(program)),
        ...restoreLimits,
        limits.diskRead(images.compressed),
      ],
    },
    {
      key: "in-place",
      name: "restore in place, 5 % different",
      contenders: [contenders.restoreInPlace(main), limits.hash(parts.base), limits.diskRead(main.changed)],
      peersOf: "restore",
    },
    {
      key: "by-changes",
      name: "restore by changes, 5 % different",
      contenders: [contenders.restoreByChanges(main)],
      peersOf: "restore",
    },
    {
      key: "by-changes-large",
      name: "restore by changes, the same in 20 GiB",
      contenders: [contenders.restoreByChanges(large)],
    },
    {
      key: "memory",
      name: "raw stream of 2 GiB, all new",
      contenders: [contenders.salted(1)],
      runsMax: 1,
    },
    {
      key: "memory-long",
      name: "raw stream of 16 GiB, all new",
      contenders: [contenders.salted(8)],
      runsMax: 1,
    },
    {
      key: "start-up",
      name: "--version",
      contenders: [contenders.version(plain)],
    },
  ];
  if (buckets === undefined) return cases;

  const speakers = all.filter(({ speaksS3 }) => speaksS3);
  const again = (volume: Volume, source?: Source) =>
    speakers.filter((program) => program !== sealed)
      .map((program) => contenders.again(program, volume, { source, inBucket: true }));
  cases.push({
    key: "s3-full",
    name: "full, MinIO",
    contenders: [
      ...speakers.map((program) => contenders.full(program, true)),
      ...fullLimits,
      limits.put(contenders.holdingBase(plain, main), buckets),
    ],
  }, {
    key: "s3-unchanged",
    name: "unchanged, MinIO",
    contenders: again(main, nothing),
  }, {
    key: "s3-changed",
    name: "5 % changed, MinIO",
    contenders: again(main),
  }, {
    key: "s3-small-writes",
    name: "1,000 random writes of 4 KiB in 1 GiB, MinIO",
    contenders: again(small),
  }, {
    key: "s3-restore",
    name: "restore to new, MinIO",
    contenders: [
      ...speakers.map((program) => contenders.restore(program, true)),
      ...restoreLimits,
      limits.get(contenders.holdingBase(plain, main, true)),
    ],
  }, {
    key: "s3-in-place",
    name: "restore in place, 5 % different, MinIO",
    contenders: [contenders.restoreInPlace(main, { inBucket: true })],
    peersOf: "s3-restore",
  });
  return cases;
}
