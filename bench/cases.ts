/** What is measured, with which programs. The first contender of each case is varve. */
import { type Images } from "./images.ts";
import { type Cost, measure, shell } from "./measure.ts";

export interface Contender {
  program: string;
  prepare?: () => Promise<unknown>;
  run: () => Promise<Cost>;
  storedBytes?: () => Promise<number>;
}

export interface Case {
  name: string;
  contenders: Contender[];
}

const ROOT = new URL("..", import.meta.url).pathname;
const VARVE = `${ROOT}dist/varve`;

export function cases({ images, scratch }: { images: Images; scratch: string }): Case[] {
  const { base, changed, full, increment } = images;
  const repo = `${scratch}/repo`;
  const env = {
    VARVE_REPO: repo,
    XDG_CACHE_HOME: `${scratch}/cache`,
    RESTIC_REPOSITORY: repo,
    RESTIC_PASSWORD: "bench",
    RESTIC_CACHE_DIR: `${scratch}/cache`,
    BORG_REPO: repo,
    BORG_BASE_DIR: `${scratch}/borg`,
    BORG_PASSPHRASE: "bench",
  };
  const sh = (script: string) => measure(shell(script), { env, cwd: scratch });
  const init = () => sh(`${VARVE} init -q`);
  const storedBytes = async () => Number((await sh(`du -sb ${repo}`)).stdout.split("\t")[0]);
  const backUp = (stream: string) => `cat ${stream} | exec ${VARVE} backup -q acme/db`;
  const restic = (image: string) => `exec restic -q backup ${image}`;
  const resticInit = () => sh("restic -q init");
  const borgInit = () => sh("borg init -e repokey-blake2");
  const borg = (image: string, name: string) => `exec borg create -C zstd,3 ::${name} ${image}`;

  return [
    {
      name: "full",
      contenders: [
        { program: "varve", prepare: init, run: () => sh(backUp(full)), storedBytes },
        { program: "limit: sha256, then zstd -3, all cores", run: () => sh(limit(base)) },
        { program: "restic", prepare: resticInit, run: () => sh(restic(base)), storedBytes },
        { program: "borg", prepare: borgInit, run: () => sh(borg(base, "one")), storedBytes },
      ],
    },
    {
      name: "unchanged",
      contenders: [
        {
          program: "varve, raw",
          prepare: () => sh(`${VARVE} init -q; ${rawBackup(base)}`),
          run: () => sh(rawBackup(base)),
        },
        {
          program: "restic",
          prepare: () => sh(`restic -q init; restic -q backup ${base}`),
          run: () => sh(`exec restic -q backup -f ${base}`),
        },
      ],
    },
    {
      name: "increment of 5 %",
      contenders: [
        {
          program: "varve",
          prepare: () => sh(`${VARVE} init -q; ${backUp(full)}`),
          run: () => sh(backUp(increment)),
        },
        {
          program: "restic",
          prepare: () =>
            sh(`cp --reflink=auto ${base} img; restic -q init; restic -q backup img; cp ${changed} img`),
          run: () => sh(restic("img")),
        },
        {
          program: "borg",
          prepare: () =>
            sh(
              `cp ${base} img; borg init -e repokey-blake2; ${
                borg("img", "one").slice(5)
              }; cp ${changed} img`,
            ),
          run: () => sh(borg("img", "two")),
        },
      ],
    },
    {
      name: "restore to new",
      contenders: [
        {
          program: "varve",
          prepare: () => sh(`${VARVE} init -q; ${backUp(full)}`),
          run: () => sh(`exec ${VARVE} restore -q acme/db --to out.img`),
        },
        {
          program: "restic",
          prepare: () => sh(`restic -q init; restic -q backup ${base}`),
          run: () => sh("exec restic -q restore latest --target out"),
        },
        {
          program: "borg",
          prepare: () => sh(`borg init -e repokey-blake2; borg create -C zstd,3 ::one ${base}`),
          run: () => sh("exec borg extract --sparse ::one"),
        },
      ],
    },
    {
      name: "restore in place, 5 % different",
      contenders: [
        {
          program: "varve",
          prepare: () => sh(`${VARVE} init -q; ${backUp(full)}; cp ${changed} out.img`),
          run: () => sh(`exec ${VARVE} restore -q acme/db --to out.img`),
        },
        { program: "limit: read and sha256, all cores", run: () => sh(sha256(base)) },
      ],
    },
    {
      name: "memory, 2 GiB raw stream",
      contenders: [{ program: "varve", prepare: init, run: () => sh(salted(base, 1)) }],
    },
    {
      name: "memory, 16 GiB raw stream",
      contenders: [{ program: "varve", prepare: init, run: () => sh(salted(base, 8)) }],
    },
    {
      name: "start-up",
      contenders: [{ program: "varve --version", run: () => sh(`exec ${VARVE} --version`) }],
    },
  ];
}

function rawBackup(image: string): string {
  return `${VARVE} backup -q acme/db ${image} --format raw`;
}

function salted(image: string, copies: number): string {
  return `${ROOT}node_modules/.bin/bun ${ROOT}bench/salted.ts ${image} ${copies} | ${VARVE} backup -q acme/db --format raw`;
}

/** SHA-256 of both halves of the image at once; on more cores in as many parts. */
function sha256(image: string): string {
  return `n=$(nproc); size=$(stat -c %s ${image}); part=$((size / n));
    for i in $(seq 0 $((n - 1))); do tail -c +$((i * part + 1)) ${image} | head -c $part | openssl dgst -sha256 & done; wait`;
}

function limit(image: string): string {
  return `${sha256(image)}; zstd -3 -T0 -q -c ${image} | wc -c`;
}
