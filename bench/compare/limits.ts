/** What this machine can do, shown by programs that each do one thing only. */
import { unlink } from "node:fs/promises";
import type { Buckets } from "./buckets.ts";
import type { Contender } from "./contenders.ts";
import type { Home } from "./home.ts";
import { awsEnv, type S3Place } from "./programs.ts";

/** A repository, and what has to be done before it is there. */
interface Repository {
  home: Home;
  prepare: () => Promise<unknown>;
}

export interface Limits {
  /** Bytes through a pipe. */
  pipe: (file: string) => Contender;
  /** Each part's SHA-256 on a core of its own. */
  hash: (parts: string[]) => Contender;
  /** SHA-256 of the parts as above, then zstd of the file on all cores. */
  hashAndCompress: (file: string, parts: string[]) => Contender;
  /** The parts decompressed, each on a core of its own, then SHA-256 as above. */
  decompressAndHash: (compressed: string[], parts: string[]) => Contender;
  /** One new file with these bytes, in order, up to the disk and past the page cache. */
  diskWrite: (file: string) => Contender;
  /** One file read in order, from the disk and past the page cache. */
  diskRead: (file: string) => Contender;
  /** The objects of a repository in a directory, sent by a plain loop. */
  put: (repository: Repository, buckets: Buckets) => Contender;
  /** The objects of a repository in a bucket, fetched by a plain loop. */
  get: (repository: Repository) => Contender;
}

const SHA256 = "openssl dgst -sha256";
/** As varve does: src/codec/zstd.ts. */
const ZSTD = "zstd -2 --zstd=wlog=22,hlog=17";
const LOOP = `'${process.execPath}' '${import.meta.dirname}/object_loop.ts'`;

/** `folder`: for the files that are written. */
export function limitsIn(folder: string): Limits {
  const written = `${folder}/written`;
  return {
    pipe: (file) => limit("pipe", `cat '${file}' | dd of=/dev/null bs=1M status=none`, { warm: [file] }),
    hash: (parts) => limit("SHA-256", eachAtOnce(SHA256, parts), { warm: parts }),
    hashAndCompress: (file, parts) =>
      limit("SHA-256, zstd", `${eachAtOnce(SHA256, parts)}; ${ZSTD} -T0 -q -c '${file}' >/dev/null`, {
        warm: [file, ...parts],
      }),
    decompressAndHash: (compressed, parts) =>
      limit("zstd -d, SHA-256", `${eachAtOnce("zstd -d -q -c", compressed)}; ${eachAtOnce(SHA256, parts)}`, {
        warm: [...compressed, ...parts],
      }),
    diskWrite: (file) =>
      limit("disk write", `dd if='${file}' of='${written}' bs=4M oflag=direct conv=fsync status=none`, {
        warm: [file],
        clean: () => unlink(written),
      }),
    diskRead: (file) =>
      limit("disk read", `dd if='${file}' of=/dev/null bs=4M iflag=direct status=none`, { cold: [file] }),
    put: putLoop,
    get: ({ home, prepare }) => ({
      program: "GET loop",
      kind: "limit",
      prepare,
      script: () => `${LOOP} get ${home.s3!.endpoint} ${home.s3!.bucket}`,
      options: () => ({ env: home.env }),
    }),
  };
}

function putLoop({ home, prepare }: Repository, buckets: Buckets): Contender {
  let place: S3Place;
  return {
    program: "PUT loop",
    kind: "limit",
    prepare: async () => {
      await prepare();
      place = await buckets.make();
    },
    script: () => `${LOOP} put ${place.endpoint} ${place.bucket} '${home.repository}'`,
    options: () => ({ env: { ...process.env as Record<string, string>, ...awsEnv(place) } }),
    clean: () => buckets.remove(place),
  };
}

function limit(program: string, script: string, more: Partial<Contender>): Contender {
  return { program, kind: "limit", script: () => script, ...more };
}

function eachAtOnce(command: string, parts: string[]): string {
  return `for part in ${
    parts.map((part) => `'${part}'`).join(" ")
  }; do ${command} "$part" >/dev/null & done; wait`;
}
