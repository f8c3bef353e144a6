/**
 * The soak test's machinery: several processes of the built program work on one project at once, in loops, and some are
 * ended by kill -9 at a random moment. Every other failure of one is a failure of the test.
 */
import { join } from "node:path";
import type { BackupInfo } from "../../src/project/catalog.ts";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { ForgetRow } from "../../src/engine/retention/forget_plan.ts";
import type { GcReport } from "../../src/engine/gc/gc_report.ts";
import { livingLeases } from "../../src/project/sharing/leases.ts";
import { listPlans } from "../../src/project/sharing/plans.ts";
import { openProject } from "../../src/project/open_project.ts";
import type { Project } from "../../src/project/project.ts";
import { openRepository } from "../../src/project/repository.ts";
import { leaseName, PLANS_PREFIX } from "../../src/format/layout.ts";
import { fromHex } from "../../src/util/bytes.ts";
import { LEASE_ID_BYTES } from "../../src/format/limits.ts";
import type { Store } from "../../src/store/store.ts";
import { testContext } from "./engine.ts";
import { random } from "./random.ts";
import { contentOf, parseSnapshot, type Snapshot, snapshotName, streamOf } from "./soak_content.ts";
import { startVarve } from "./varve.ts";

export const PROJECT = "acme";
export const VOLUMES = ["vm-0", "rbd/vm-1", "rbd/vm-2", "vm-3"];
/** How long a request of a killed process may still be under way at a server on this machine. */
const LAST_REQUEST_MS = 3_000;
/** As long as a collection takes. */
const PAUSE_MAX_MS = 8_000;
/** A run is killed anywhere up to this share of what the last one of its kind took. */
const KILL_WITHIN = 1.2;

export interface SoakOptions {
  seed: number;
  /** Names the repository and its credentials. */
  env: Record<string, string>;
  /** For the caches: each loop works as a host of its own. */
  folder: string;
  /** The repository's store, in this process. */
  store: Store;
  /** The store errs: whoever is told something wrong may give up, with an exit code that says so. */
  mayGiveUp?: boolean;
}

export interface RunOptions {
  /** The loop that it belongs to. */
  host: string;
  stdin?: Uint8Array | ReadableStream<Uint8Array>;
  /** One run of so many is killed; 0 is none. */
  killOneOf?: number;
}

export class Soak {
  readonly counts = {
    backups: 0,
    incrementals: 0,
    killed: 0,
    restores: 0,
    gcs: 0,
    deleted: 0,
    spared: 0,
    swept: 0,
    gaveUp: 0,
  };
  readonly #options: SoakOptions;
  readonly #draw: (limit: number) => number;
  /** Points that a backup has reported, `VOLUME@BACKUP`. */
  readonly #done = new Set<string>();
  /** By process id. */
  readonly #killedAtMs = new Map<number, number>();
  readonly #tookMs = new Map<string, number>();
  #endMs = 0;
  #hasFailed = false;

  constructor(options: SoakOptions) {
    this.#options = options;
    this.#draw = random(options.seed);
  }

  /** Runs every loop for this long, and until something was killed and deleted; the first failure of any ends them all. */
  async run(durationMs: number): Promise<void> {
    if (this.counts.backups === 0) await this.begin();
    this.#endMs = Date.now() + durationMs;
    const loops = [
      ...VOLUMES.map((volume) => this.#backUps(volume)),
      this.#loop(() => this.#forget()),
      this.#loop(() => this.#gc()),
      this.#loop(() => this.#restoreNewest()),
    ];
    const ended = await Promise.allSettled(loops);
    for (const loop of ended) if (loop.status === "rejected") throw loop.reason;
  }

  /** A first point of each volume. */
  async begin(): Promise<void> {
    await Promise.all(VOLUMES.map((volume) => this.#backUp({ volume, n: 0 }, undefined, 0)));
  }

  async #loop(step: () => Promise<void>): Promise<void> {
    try {
      while (!this.#isOver) await step();
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    }
  }

  get #isOver(): boolean {
    const { killed, deleted } = this.counts;
    return this.#hasFailed || (Date.now() >= this.#endMs && killed > 0 && deleted > 0);
  }

  async #backUps(volume: string): Promise<void> {
    let n = 1;
    await this.#loop(async () => {
      const points = await this.list(volume);
      const back = this.#draw(4) === 0 ? -2 : -1;
      const base = this.#draw(5) === 0 ? undefined : points.at(back) ?? points.at(-1);
      const from = base && parseSnapshot(volume, base.to_snapshot);
      await this.#backUp({ volume, n: n++ }, from, 3);
    });
  }

  async #backUp(snapshot: Snapshot, from: Snapshot | undefined, killOneOf: number): Promise<void> {
    const { volume } = snapshot;
    const options = {
      host: volume.replace("/", "-"),
      stdin: this.#pipe(streamOf(snapshot, from)),
      killOneOf,
    };
    const report = await this.json<BackupReport>(["backup", `${PROJECT}/${volume}`], options);
    if (report === undefined) return;
    this.#done.add(`${volume}@${report.backup}`);
    this.counts.backups++;
    if (from !== undefined) this.counts.incrementals++;
  }

  /** Some producers stand still half-way: what a backup has found in the store by then must not be gone at its end. */
  #pipe(stream: Uint8Array): ReadableStream<Uint8Array> {
    const middle = stream.length >> 1;
    const pauseMs = this.#draw(2) * this.#draw(PAUSE_MAX_MS);
    const parts = [stream.subarray(0, middle), stream.subarray(middle)];
    return new ReadableStream({
      async pull(controller) {
        if (parts.length === 1) await Bun.sleep(pauseMs);
        controller.enqueue(parts.shift()!);
        if (parts.length === 0) controller.close();
      },
    }, { highWaterMark: 0 });
  }

  async #forget(): Promise<void> {
    await this.json<ForgetRow[]>(["forget", PROJECT, "--keep-last", "2", "--force"], {
      host: "forget",
      killOneOf: 8,
    });
  }

  async #gc(): Promise<void> {
    await this.removeDeadLeases();
    await this.gc(5);
  }

  /** One run; `undefined` where it was killed. */
  async gc(killOneOf = 0): Promise<GcReport | undefined> {
    const report = await this.json<GcReport>(["gc", PROJECT, "--grace", "0", "--force"], {
      host: "gc",
      killOneOf,
    });
    if (report === undefined) return;
    this.counts.gcs++;
    this.counts.deleted += report.deleted;
    this.counts.spared += report.spared;
    this.counts.swept += report.plans_swept;
    return report;
  }

  async #restoreNewest(): Promise<void> {
    const volume = VOLUMES[this.#draw(VOLUMES.length)]!;
    const newest = (await this.list(volume)).at(-1);
    if (newest !== undefined) await this.expectContent(newest, 6);
  }

  /** Restores the point and compares; one that is forgotten meanwhile may also fail. */
  async expectContent(point: BackupInfo, killOneOf = 0): Promise<void> {
    const name = `${PROJECT}/${point.volume}@${point.backup}`;
    const options = { host: "restore", killOneOf };
    const { code, bytes, stderr } = await this.#run(["restore", name, "--to", "-"], options);
    if (code === null) return;
    if (code !== 0) {
      if (this.#gaveUp(code)) return;
      const still = await this.list(point.volume);
      if (still.every(({ backup }) => backup !== point.backup)) return;
      throw new Error(`restore of ${name} exited with ${code}: ${stderr}`);
    }
    const snapshot = parseSnapshot(point.volume, point.to_snapshot);
    if (!Buffer.from(bytes).equals(contentOf(snapshot))) {
      throw new Error(`${name} does not restore to what ${snapshotName(snapshot)} held`);
    }
    this.counts.restores++;
  }

  async list(volume: string): Promise<BackupInfo[]> {
    const points = await this.json<BackupInfo[]>(["list", `${PROJECT}/${volume}`], {
      host: volume.replace("/", "-"),
    });
    return points ?? [];
  }

  /** The newest two points of a volume that a backup has reported: no forget takes them. */
  reported(volume: string): string[] {
    return this.newestKnown(volume, []);
  }

  /** Of each volume's points, as far as they are known, the newest two that a backup has reported or that are listed. */
  newestKnown(volume: string, listed: readonly BackupInfo[]): string[] {
    const ids = [...this.#done].filter((point) => point.startsWith(`${volume}@`))
      .map((point) => point.slice(volume.length + 1));
    return [...new Set([...ids, ...listed.map(({ backup }) => backup)])].sort().slice(-2);
  }

  /**
   * Killed processes leave their leases, and a collector waits a day for each. This stands for that day: it removes what
   * belongs to them, once no request of theirs can be under way. No operator should.
   */
  async removeDeadLeases(): Promise<void> {
    const { store } = this.#options;
    const context = testContext();
    const project = await openSoakProject(store);
    for (const { id, pid } of await livingLeases(project, context)) {
      const killedAtMs = this.#killedAtMs.get(pid);
      if (killedAtMs === undefined || Date.now() - killedAtMs < LAST_REQUEST_MS) continue;
      await store.delete([project.objectKey(leaseName(fromHex(id, LEASE_ID_BYTES)!))]);
    }
  }

  /**
   * A plan that was swept goes on condemning for eight days. This stands for them: it removes such plans, once no deletion
   * of theirs can be under way. No operator should.
   */
  async removeEndedPlans(): Promise<void> {
    const { store } = this.#options;
    const project = await openSoakProject(store);
    for (const { id, endedMs } of await listPlans(project, testContext())) {
      if (endedMs === undefined) continue;
      const keys = await Array.fromAsync(
        store.list(project.objectKey(`${PLANS_PREFIX}${id}/`)),
        ({ key }) => key,
      );
      await store.delete(keys);
    }
  }

  /** After this the leases of all killed processes can be removed. */
  async lastRequests(): Promise<void> {
    await Bun.sleep(LAST_REQUEST_MS);
  }

  /** Its JSON; `undefined` where it was killed. Any other end is an error. */
  async json<T>(args: string[], options: RunOptions): Promise<T | undefined> {
    const { code, bytes, stderr } = await this.#run(["--json", ...args], options);
    if (code === null || this.#gaveUp(code)) return undefined;
    if (code !== 0) throw new Error(`varve ${args.join(" ")} exited with ${code}: ${stderr}`);
    return JSON.parse(Buffer.from(bytes).toString()) as T;
  }

  /** Failed, met damage or a conflict, while the store errs. */
  #gaveUp(code: number): boolean {
    if (this.#options.mayGiveUp !== true || ![1, 3, 11].includes(code)) return false;
    this.counts.gaveUp++;
    return true;
  }

  async #run(args: string[], { host, stdin, killOneOf = 0 }: RunOptions) {
    const kind = `${host} ${args.find((arg) => !arg.startsWith("-"))}`;
    const startedMs = Date.now();
    const env = {
      ...this.#options.env,
      XDG_CACHE_HOME: join(this.#options.folder, host),
      XDG_STATE_HOME: join(this.#options.folder, host, "state"),
    };
    const child = startVarve(args, { env, stdin });
    const kills = killOneOf > 0 && this.#draw(killOneOf) === 0;
    const afterMs = this.#draw(Math.ceil((this.#tookMs.get(kind) ?? 1000) * KILL_WITHIN));
    const timer = kills ? setTimeout(() => child.kill("SIGKILL"), afterMs) : undefined;
    const output = [new Response(child.stdout).bytes(), new Response(child.stderr).text()] as const;
    const [bytes, stderr] = await Promise.all(output);
    await child.exited;
    clearTimeout(timer);
    const code = child.exitCode;
    if (code === null) {
      this.#killedAtMs.set(child.pid, Date.now());
      this.counts.killed++;
    } else this.#tookMs.set(kind, Date.now() - startedMs);
    return { code, bytes, stderr };
  }
}

/** The project as this process sees it. */
export async function openSoakProject(store: Store): Promise<Project> {
  const context = testContext();
  const repository = await openRepository(store, context);
  return await openProject(repository, { name: PROJECT, secrets: [] }, context);
}
