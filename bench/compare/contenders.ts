/** A program in a case: how it gets ready, what is measured of it, and what it left. */
import { existsSync } from "node:fs";
import type { Buckets } from "./buckets.ts";
import { Home } from "./home.ts";
import { applyChanges, type Images, type Volume } from "./images.ts";
import { run, type RunOptions } from "../report/measure.ts";
import { type Program, type Source, varve } from "./programs.ts";

export interface Contender {
  program: string;
  kind: "varve" | "peer" | "limit";
  prepare?: () => Promise<unknown>;
  /** Files that are in memory when it starts, and files and folders that are not. */
  warm?: string[];
  cold?: string[];
  script: () => string;
  options?: () => RunOptions;
  storedBytes?: () => Promise<number>;
  /** Fails where what came out is wrong; for the first run. */
  check?: string;
  /** After each run. */
  clean?: () => Promise<unknown>;
}

export interface ContendersOptions {
  images: Images;
  /** For all that is written. */
  scratch: string;
  varveFile: string;
  buckets: Buckets | undefined;
}

interface AgainOptions {
  source?: Source | undefined;
  inBucket?: boolean;
}

/** A run counts until its bytes are on the disk, whatever the program itself promises. */
const SYNC = "; sync -f .";
const SALTED = `'${process.execPath}' '${import.meta.dirname}/salted.ts'`;

export class Contenders {
  readonly plain: Program;
  readonly sealed: Program;
  readonly #options: ContendersOptions;
  readonly #homes = new Map<string, Home>();

  constructor(options: ContendersOptions) {
    this.#options = options;
    this.plain = varve(options.varveFile, { sealed: false });
    this.sealed = varve(options.varveFile, { sealed: true });
  }

  /** varve, reading the image and not a stream. */
  get raw(): Program {
    const { plain } = this;
    const backUp = ({ image }: Source) => `${plain.file} -q backup acme/db --format raw '${image}'`;
    return { ...plain, name: "varve, raw", backUp };
  }

  /** A backup of the base into an empty repository. */
  full(program: Program, inBucket = false): Contender {
    const home = this.#home(program, { purpose: "full", inBucket });
    const { base, full } = this.#options.images.main;
    return {
      ...described(program, home),
      prepare: () => home.fresh(),
      ...inMemory(program, { stream: full, image: base }),
      script: () => program.backUp({ stream: full, image: base }) + (inBucket ? "" : SYNC),
      storedBytes: () => home.storedBytes(),
      clean: () => home.remove(),
    };
  }

  /** A backup where the repository holds the base: of the changed volume, or of `source`. */
  again(program: Program, volume: Volume, { source, inBucket = false }: AgainOptions = {}): Contender {
    const { home, prepare } = this.holdingBase(program, volume, inBucket);
    const next = source ??
      { stream: volume.increment, image: volume.changed, hints: volume.hints };
    return {
      ...described(program, home),
      prepare,
      ...inMemory(program, next),
      script: () => program.backUp(next) + (inBucket ? "" : SYNC),
      storedBytes: () => home.storedBytes(),
    };
  }

  restore(program: Program, inBucket = false): Contender {
    const { main } = this.#options.images;
    const { home, prepare } = this.holdingBase(program, main, inBucket);
    return {
      ...described(program, home),
      prepare,
      warm: [program.file],
      cold: inBucket ? [] : [home.repository],
      script: () => program.restore + SYNC,
      check: `cmp "$(find out -type f)" '${main.base}'`,
      clean: () => run("rm -rf out", { cwd: home.folder }),
    };
  }

  /** A restore of the base over a file with the bytes of the changed volume. */
  restoreInPlace(volume: Volume, { options = "", inBucket = false } = {}): Contender {
    const { plain } = this;
    const { home, prepare } = this.holdingBase(plain, volume, inBucket);
    const target = `${this.#options.scratch}/${volume.name}-target`;
    return {
      ...described(plain, home),
      prepare: async () => {
        await prepare();
        if (existsSync(target)) await applyChanges(volume, target);
        else await run(`cp --sparse=always '${volume.changed}' '${target}'`);
      },
      warm: [volume.increment, plain.file],
      cold: inBucket ? [target] : [home.repository, target],
      script: () => `${plain.file} -q restore acme/db@one --to '${target}' ${options}` + SYNC,
      check: `cmp '${target}' '${volume.base}'`,
    };
  }

  /** The same, knowing what changed. */
  restoreByChanges(volume: Volume): Contender {
    return this.restoreInPlace(volume, { options: `--changed-since one --changes '${volume.increment}'` });
  }

  /** A backup of so many copies of the base in a row, every chunk of them new. */
  salted(copies: number): Contender {
    const { plain } = this;
    const home = this.#home(plain, { purpose: "salted", inBucket: false });
    const { base } = this.#options.images.main;
    return {
      ...described(plain, home),
      prepare: () => home.fresh(),
      warm: [base, plain.file],
      script: () => `${SALTED} '${base}' ${copies} | ${plain.file} -q backup acme/db --format raw`,
      storedBytes: () => home.storedBytes(),
      clean: () => home.remove(),
    };
  }

  version({ name, file, version }: Program): Contender {
    return { program: name, kind: "varve", warm: [file], script: () => version };
  }

  /** A home, and what brings its repository to hold the base of `volume` and nothing else. */
  holdingBase(program: Program, volume: Volume, inBucket = false) {
    const home = this.#home(program, { purpose: volume.name, inBucket });
    const script = program.backUp({ stream: volume.full, image: volume.base });
    return { home, prepare: () => home.ready(script) };
  }

  #home(program: Program, { purpose, inBucket }: { purpose: string; inBucket: boolean }): Home {
    const { scratch, buckets } = this.#options;
    const folder = `${scratch}/${program.name.replace(", ", "-")}-${purpose}${inBucket ? "-s3" : ""}`;
    const home = this.#homes.get(folder) ??
      new Home({ program, folder, buckets: inBucket ? buckets : undefined });
    this.#homes.set(folder, home);
    return home;
  }
}

/** What the program reads is in memory, and the other form of the volume is not: 20 GiB of it would take the room. */
function inMemory(program: Program, source: Source): Pick<Contender, "warm" | "cold"> {
  const script = program.backUp(source);
  const isRead = (file: string) => script.includes(`'${file}'`);
  const files = [source.stream, source.image];
  return { warm: [...files.filter(isRead), program.file], cold: files.filter((file) => !isRead(file)) };
}

function described(program: Program, home: Home): Pick<Contender, "program" | "kind" | "options"> {
  return {
    program: program.name,
    kind: program.peer ? "peer" : "varve",
    options: () => ({ env: home.env, cwd: home.folder }),
  };
}
