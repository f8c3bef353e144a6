/** Who attacks: somebody who can write to the store, has seen all that ever lay in it, and holds the key of no sealed project. */
import { REPOSITORY_KEY } from "../../src/format/layout.ts";
import { noise } from "../kit/repository.ts";
import type { Forger } from "./forger.ts";
import { type ProjectName, PROJECTS, type Template } from "./template.ts";
import type { Victim } from "./victim.ts";

/** One way to attack; each time it draws anew what it does. */
export interface Attack {
  weight: number;
  /** It needs the directory itself: a bucket has no links. */
  onFiles?: true;
  /** It needs the key of the project that is not encrypted. */
  forges?: true;
  /** Resolves to what it did, for the trace. */
  act: (attacker: Attacker) => Promise<string>;
}

export interface AttackerOptions {
  draw: (limit: number) => number;
  victim: Victim;
  template: Template;
  forger: Forger;
  /** The tree beside the repository, where links lead. */
  canary: string;
  /** Files that are none (a pipe, a socket, a device), by what they are; each can be linked to. */
  special: Readonly<Record<string, string>>;
  focus: ProjectName;
}

export class Attacker {
  readonly draw: (limit: number) => number;
  readonly victim: Victim;
  readonly template: Template;
  readonly forger: Forger;
  readonly canary: string;
  readonly special: Readonly<Record<string, string>>;
  /** The project that most of it is about. */
  readonly focus: ProjectName;
  /** Something that is validly sealed says to be so large that honest work on it takes its time. */
  plantedGiant = false;
  /** It has another id: what a host remembers is of another one. */
  renamedRepository = false;

  constructor(options: AttackerOptions) {
    this.draw = options.draw;
    this.victim = options.victim;
    this.template = options.template;
    this.forger = options.forger;
    this.canary = options.canary;
    this.focus = options.focus;
    this.special = options.special;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.draw(from.length)]!;
  }

  /** `true` once in `times`. */
  once(times: number): boolean {
    return this.draw(times) === 0;
  }

  project(): ProjectName {
    return this.once(2) ? this.focus : this.pick(PROJECTS);
  }

  /** An object's key. First its kind is drawn, for most are chunks. */
  key(project: string | undefined = this.once(2) ? this.focus : undefined): string {
    const keys = [...this.template.objects.keys()].filter((key) =>
      project === undefined || key.startsWith(`projects/${project}/`)
    );
    // Without it there is no repository, and nothing else to be tried.
    const kinds = new Set(keys.filter((key) => key !== REPOSITORY_KEY || this.once(8)).map(kindOf));
    const kind = this.pick([...kinds]);
    return this.pick(keys.filter((key) => kindOf(key) === kind));
  }

  /** As it was when the attack began. */
  original(key: string): Uint8Array {
    return this.template.objects.get(key)!;
  }

  /** Another object's key of the same kind, maybe of another project. */
  keyLike(key: string): string {
    return this.pick([...this.template.objects.keys()].filter((other) => kindOf(other) === kindOf(key)));
  }

  noise(length: number): Uint8Array {
    return noise(length, this.draw(2 ** 30));
  }

  hex(digits: number): string {
    return Buffer.from(this.noise(Math.ceil(digits / 2))).toString("hex").slice(0, digits);
  }

  /** Does it, and says whether the store took it. */
  async write(key: string, bytes: Uint8Array, what: string): Promise<string> {
    const isWritten = await this.victim.write(key, bytes);
    return `${JSON.stringify(key.slice(0, 200))}: ${what}${isWritten ? "" : ", which the store refuses"}`;
  }
}

/** `chunks`, `volumes`, `keys` …; the whole key of what belongs to no project. */
function kindOf(key: string): string {
  const [projects, , kind = key] = key.split("/");
  return projects === "projects" ? kind : key;
}
