/**
 * The repository that is attacked, before anybody has attacked it: made once by the compiled file, kept as it was after
 * each step, so that an attacker can bring older states back. All that was ever backed up is known here by its bytes.
 */
import fs from "node:fs";
import path from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { decodeCheckedJson } from "../../src/format/checked_json.ts";
import { encodeDiff, fullStream, type TestRecord } from "../kit/rbd_stream.ts";
import { noise } from "../kit/repository.ts";
import { run } from "./run.ts";
import { filesBelow, type Objects } from "./victim.ts";

/** The smallest chunks that there are: volumes of a few hundred KiB have several. */
export const CHUNK_BYTES = 64 * 1024;
const BLOCK_BYTES = 4096;
const DAY_S = 86_400;

/** What opens each project. Two have the same key file, as an operator with one for all of them would do it. */
const SECRETS = {
  acme: ["--key-file", "shared.key"],
  beta: ["--key-file", "shared.key"],
  phrase: ["--passphrase-file", "phrase.txt"],
  open: [],
} as const;
export type ProjectName = keyof typeof SECRETS;
/** Nobody but its owner can make anything in these. */
export const SEALED: readonly ProjectName[] = ["acme", "beta", "phrase"];
export const PROJECTS = Object.keys(SECRETS) as ProjectName[];

export interface Point {
  project: ProjectName;
  volume: string;
  backup: string;
  snapshot: string;
  bytes: Uint8Array;
}

export class Template {
  readonly folder: string;
  /** The objects after each step; the last is what is attacked. */
  readonly stages: Objects[] = [];
  /** A project of the same name, with the same secret, in another repository. */
  foreign: Objects = new Map();
  /** All that there ever were, also what was forgotten since; oldest first. */
  readonly points: Point[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(folder: string): Promise<Template> {
    const template = new Template(folder);
    for (const name of ["home", "cache", "state"]) fs.mkdirSync(template.path(name), { recursive: true });
    // For their owner alone: nothing is to be said of them.
    fs.writeFileSync(template.path("shared.key"), noise(32, "key"), { mode: 0o600 });
    fs.writeFileSync(template.path("phrase.txt"), "correct horse battery staple\n", { mode: 0o600 });
    await template.#make();
    return template;
  }

  get objects(): Objects {
    return this.stages.at(-1)!;
  }

  path(name: string): string {
    return path.join(this.folder, name);
  }

  /** The options that open a project. */
  secretOf(project: ProjectName): string[] {
    const [option, file] = SECRETS[project];
    return option === undefined ? [] : [option, this.path(file!)];
  }

  /** The ids of the keys that a project was made with. */
  keyIds(project: ProjectName): string[] {
    const prefix = `projects/${project}/keys/`;
    return [...this.objects.keys()].filter((key) => key.startsWith(prefix)).map((key) =>
      key.slice(prefix.length)
    );
  }

  get repositoryId(): string {
    return String(decodeCheckedJson(this.objects.get("varve.json")!, "varve.json").repository);
  }

  pointsOf(project: ProjectName, volume: string): Point[] {
    return this.points.filter((point) => point.project === project && point.volume === volume);
  }

  async #make(): Promise<void> {
    const secret = this.secretOf("acme");
    await this.#varve(["init", "acme", "beta", "--chunk-size", String(CHUNK_BYTES), ...secret]);
    await this.#varve(["init", "phrase", ...this.secretOf("phrase")]);
    await this.#varve(["init", "open", "--no-encryption"]);
    for (const project of PROJECTS) await this.#backUp(project, "db");
    await this.#backUp("acme", "web/root");
    this.#keep();
    for (const project of PROJECTS) await this.#backUp(project, "db");
    await this.#varve(["hold", "acme/db@s1", "--reason", "case 4711", ...secret]);
    await this.#varve(["hold", "open/db@s1"]);
    this.#keep();
    await this.#leavePlan("acme");
    await this.#leavePlan("open");
    this.#keep();
    for (const project of ["acme", "beta", "open"] as const) await this.#backUp(project, "db");
    await this.#backUp("acme", "web/root");
    await this.#varve(["init", "--chunk-size", String(CHUNK_BYTES)], "second");
    await this.#varve(["copy", "acme", "--to", this.path("second"), ...secret]);
    for (const name of ["repository", "second"]) fs.truncateSync(this.path(`${name}/reserve`), 4096); // a round copies it
    this.#keep();
    await this.#varve(["init", "acme", "--chunk-size", String(CHUNK_BYTES), ...secret], "elsewhere");
    const { stream } = nextState(0, undefined, "elsewhere");
    await this.#varve(["backup", "acme/db", ...secret], "elsewhere", stream);
    this.foreign = objectsOf(this.path("elsewhere"));
  }

  /** A plan that waits for its day: what it condemns was forgotten, and is old enough. */
  async #leavePlan(project: ProjectName): Promise<void> {
    const secret = this.secretOf(project);
    await this.#backUp(project, "db");
    await this.#varve(["forget", `${project}/db@s3`, "--force", ...secret]);
    const old = Date.now() / 1000 - 2 * DAY_S;
    for (const file of filesBelow(this.path(`repository/projects/${project}/chunks`))) {
      fs.utimesSync(this.path(`repository/projects/${project}/chunks/${file}`), old, old);
    }
    await this.#varve(["gc", project, ...secret]);
  }

  async #backUp(project: ProjectName, volume: string): Promise<void> {
    const last = this.pointsOf(project, volume).findLast(({ snapshot }) => snapshot !== "s3");
    const { stream, ...next } = nextState(
      this.pointsOf(project, volume).length,
      last,
      `${project}/${volume}`,
    );
    const args = ["backup", `${project}/${volume}`, "--json", ...this.secretOf(project)];
    const { backup } = JSON.parse(await this.#varve(args, "repository", stream)) as BackupReport;
    this.points.push({ project, volume, backup, ...next });
  }

  #keep(): void {
    this.stages.push(objectsOf(this.path("repository")));
  }

  async #varve(args: string[], repository = "repository", stdin?: Uint8Array): Promise<string> {
    const env = {
      VARVE_REPO: this.path(repository),
      HOME: this.path("home"),
      XDG_CACHE_HOME: this.path("cache"),
      XDG_STATE_HOME: this.path("state"),
    };
    const { code, stdout, stderr } = await run(args, { env, cwd: this.folder, stdin });
    if (code !== 0) throw new Error(`varve ${args.join(" ")} exited with ${code}: ${stderr}`);
    return Buffer.from(stdout).toString();
  }
}

function objectsOf(root: string): Objects {
  const keys = [...filesBelow(root)].filter((key) => !key.startsWith("tmp/")).sort();
  return new Map(keys.map((key) => [key, new Uint8Array(fs.readFileSync(path.join(root, key)))]));
}

/**
 * The state after `last`, named by its number, and the stream that makes it: the first is all noise but for one chunk of
 * zeros, each later one changes a block, and a chunk every other time. No two of one seed are the same.
 */
export function nextState(
  count: number,
  last: { snapshot: string; bytes: Uint8Array } | undefined,
  seed: string,
): { snapshot: string; bytes: Uint8Array; stream: Uint8Array } {
  const snapshot = `s${count + 1}`;
  if (last === undefined) {
    const bytes = noise(4 * CHUNK_BYTES + 3 * BLOCK_BYTES, seed);
    bytes.fill(0, CHUNK_BYTES, 2 * CHUNK_BYTES);
    return { snapshot, bytes, stream: fullStream(bytes, snapshot) };
  }
  const bytes = last.bytes.slice();
  const writes: TestRecord[] = [];
  const write = (offset: number, length: number) => {
    const data = noise(length, `${seed} ${snapshot} ${offset}`);
    bytes.set(data, offset);
    writes.push({ tag: "w", offset, data });
  };
  write(count * BLOCK_BYTES, BLOCK_BYTES);
  if (count % 2 === 0) write(2 * CHUNK_BYTES, CHUNK_BYTES);
  const head: TestRecord[] = [
    { tag: "f", name: last.snapshot },
    { tag: "t", name: snapshot },
    { tag: "s", sizeBytes: bytes.length },
  ];
  return { snapshot, bytes, stream: encodeDiff([...head, ...writes, { tag: "e" }]) };
}
