/** An image of a Ceph cluster, through the cluster's own tools: which one it is, its snapshots, and streams of them. */
import { VarveError } from "../errors.ts";
import { askCeph, type CephCommand, ENOENT, runCephTool, startCephTool } from "./tool.ts";
import { ExitError } from "../os/child.ts";
import { type Input, producerInput } from "../os/input.ts";
import { RbdReader } from "./reader.ts";
import { imageText, type RbdSpec } from "./spec.ts";

export interface RbdSnapshot {
  /** A number that the pool gives to one snapshot and never to another; they ascend. */
  id: number;
  name: string;
  /** It cannot be removed: somebody clones from it. */
  isProtected: boolean;
}

/** The metadata that an image has while examples/rbd-restore.sh changes it. */
const RESTORE_MARK = "varve-restore";

export class RbdImage {
  /** `rbd:POOL[/NAMESPACE]/IMAGE`. */
  readonly name: string;
  /** `CLUSTER/POOL/IMAGE`, all by their ids: the same as long as the image is the same, however it is renamed. */
  readonly sourceId: string;
  readonly #spec: RbdSpec;
  readonly #id: string;

  private constructor(
    spec: RbdSpec,
    { cluster, pool, image }: { cluster: string; pool: number; image: string },
  ) {
    this.#spec = spec;
    this.#id = image;
    this.name = nameOf(spec);
    this.sourceId = [cluster, pool, image].join("/");
  }

  /** Looks which image that is. Throws `not_found`, and `failed` where the cluster cannot be asked. */
  static async open(spec: RbdSpec, signal: AbortSignal): Promise<RbdImage> {
    const name = nameOf(spec);
    // rbd itself tells neither the cluster nor the pool's id.
    const [cluster, info] = await Promise.allSettled([
      Promise.all([askCeph(["ceph", "fsid"], signal), askCeph(["ceph", "osd", "lspools"], signal)]),
      askCeph(["rbd", "info", ...imageArgs(spec)], signal),
    ]);
    signal.throwIfAborted();
    if (cluster.status === "rejected") throw failed(`reach the cluster of "${name}"`, cluster.reason);
    const [fsid, pools] = cluster.value;
    const pool = poolId(pools, spec.pool);
    if (pool === undefined) {
      throw notFound(name, `the pool "${spec.pool}" does not exist; see "ceph osd lspools"`);
    }
    if (info.status === "rejected") {
      if (!isMissing(info.reason)) throw failed(`read "${name}"`, info.reason);
      throw notFound(name, await whatIsMissing(spec, signal));
    }
    return new RbdImage(spec, {
      cluster: field(fsid, "fsid", "string"),
      pool,
      image: field(info.value, "id", "string"),
    });
  }

  /** Throws `failed` where examples/rbd-restore.sh has begun to bring the image back to a point and has not finished. */
  async assertNotHalfRestored(signal: AbortSignal): Promise<void> {
    const command = ["rbd", "image-meta", "get", ...imageArgs(this.#spec), RESTORE_MARK] as const;
    const isMarked = await runCephTool(command, signal).then(() => true, (error: unknown) => {
      signal.throwIfAborted();
      if (isMissing(error)) return false;
      throw failed(`create a snapshot of "${this.name}"`, error);
    });
    if (!isMarked) return;
    throw new VarveError(
      "failed",
      `Cannot back up "${this.name}": an unfinished restore has left it inconsistent; rerun rbd-restore.sh, ` +
        `or if that is wrong, "rbd image-meta remove ${imageText(this.#spec)} ${RESTORE_MARK}"`,
    );
  }

  /** The image's snapshots, oldest first. */
  async snapshots(signal: AbortSignal): Promise<RbdSnapshot[]> {
    const command = ["rbd", "snap", "ls", ...imageArgs(this.#spec)] as const;
    const list = await askCeph(command, signal).catch((error) => {
      signal.throwIfAborted();
      throw missingOr(error, "the image has been removed", this.name);
    });
    if (!Array.isArray(list)) throw unexpected("snapshots");
    return list.map(readSnapshot).sort((a, b) => a.id - b.id);
  }

  /** The one of `snapshots` that is called so. Throws `not_found`. */
  find(name: string, snapshots: readonly RbdSnapshot[]): RbdSnapshot {
    const found = snapshots.find((snapshot) => snapshot.name === name);
    if (found !== undefined) return found;
    throw notFound(
      `${this.name}@${name}`,
      `the image has no such snapshot; see "rbd snap ls ${imageText(this.#spec)}"`,
    );
  }

  /**
   * Throws `conflict` unless the image still has all of `used`: rbd gives a mixture, and exits with 0, where a snapshot is
   * removed while it is read.
   */
  async #assertStillThere(used: readonly RbdSnapshot[], signal: AbortSignal): Promise<void> {
    const there = await this.snapshots(signal);
    const gone = used.find(({ id, name }) => !there.some((other) => other.id === id && other.name === name));
    if (gone === undefined) return;
    throw new VarveError(
      "conflict",
      `Cannot read "${this.name}": its snapshot "${gone.name}" was removed while it was read; retry`,
    );
  }

  async createSnapshot(name: string, signal: AbortSignal): Promise<void> {
    await this.#change(["rbd", "snap", "create", ...this.#snapshotArgs(name)], {
      what: `create a snapshot of "${this.name}"`,
      signal,
    });
  }

  /** It may be gone already. */
  async removeSnapshot(name: string, signal: AbortSignal): Promise<void> {
    await this.#change(["rbd", "snap", "rm", ...this.#snapshotArgs(name)], {
      what: `remove the snapshot "${this.name}@${name}"`,
      signal,
    }).catch((error) => {
      if (!isMissing(error.cause)) throw error;
    });
  }

  /** Opens `rbd export-diff` of a snapshot: in full, or what changed since another one. */
  exportDiff({ to, since }: { to: RbdSnapshot; since: RbdSnapshot | undefined }, signal: AbortSignal): Input {
    const from = since === undefined ? [] : [`--from-snap=${since.name}`];
    const used = since === undefined ? [to] : [to, since];
    return this.#open(
      ["rbd", "export-diff", ...from, ...this.#snapshotArgs(to.name), "--path=-"],
      used,
      signal,
    );
  }

  /** Opens `rbd export` of a snapshot: all its bytes. */
  export(to: RbdSnapshot, signal: AbortSignal): Input {
    return this.#open(["rbd", "export", ...this.#snapshotArgs(to.name), "--path=-"], [to], signal);
  }

  /** Opens a snapshot to be read anywhere. */
  async openReader({ id, name }: RbdSnapshot, signal: AbortSignal): Promise<RbdReader> {
    const { pool, namespace } = this.#spec;
    const ids = { imageId: this.#id, snapshotId: id };
    return await RbdReader.open({ pool, namespace, ...ids, name: `${this.name}@${name}`, signal });
  }

  /** What the command prints; its end is none unless the command ended well and what it used is still there. */
  #open(command: CephCommand, used: readonly RbdSnapshot[], signal: AbortSignal): Input {
    const producer = startCephTool(command, signal);
    const name = `${this.name}@${used[0]!.name}`;
    const atEnd = async () => {
      const error = await producer.finished().then(() => undefined, (error: unknown) => error);
      signal.throwIfAborted();
      await this.#assertStillThere(used, signal);
      if (error !== undefined) throw failed(`read "${name}"`, error);
    };
    return producerInput(producer, { name, signal, atEnd });
  }

  #snapshotArgs(name: string): string[] {
    return ["--no-progress", ...imageArgs(this.#spec), `--snap=${name}`];
  }

  async #change(
    command: CephCommand,
    { what, signal }: { what: string; signal: AbortSignal },
  ): Promise<void> {
    await runCephTool(command, signal).catch((error) => {
      signal.throwIfAborted();
      throw failed(what, error);
    });
  }
}

function nameOf(spec: RbdSpec): string {
  return `rbd:${imageText(spec)}`;
}

/** Of an image that is not there. */
async function whatIsMissing({ pool, namespace }: RbdSpec, signal: AbortSignal): Promise<string> {
  if (namespace === undefined) return `the image does not exist; see "rbd ls ${pool}"`;
  const namespaces = await askCeph(["rbd", "namespace", "ls", `--pool=${pool}`], signal);
  if (!Array.isArray(namespaces)) throw unexpected("namespaces");
  return namespaces.some((found) => field(found, "name", "string") === namespace)
    ? `the image does not exist; see "rbd ls ${pool}/${namespace}"`
    : `the pool has no namespace "${namespace}"; see "rbd namespace ls ${pool}"`;
}

/** Each word with its option, so that none is taken for something else. */
function imageArgs({ pool, namespace, image }: RbdSpec): string[] {
  return [
    `--pool=${pool}`,
    ...namespace === undefined ? [] : [`--namespace=${namespace}`],
    `--image=${image}`,
  ];
}

function isMissing(error: unknown): boolean {
  return error instanceof ExitError && error.exitCode === ENOENT;
}

function missingOr(error: unknown, why: string, name: string): VarveError {
  return isMissing(error) ? notFound(name, why) : failed(`read "${name}"`, error);
}

function notFound(name: string, why: string): VarveError {
  return new VarveError("not_found", `Cannot find "${name}": ${why}`);
}

function failed(what: string, cause: unknown): VarveError {
  return new VarveError("failed", `Cannot ${what}`, { cause });
}

function unexpected(what: string): VarveError {
  return new VarveError("failed", `Cannot read the ${what} printed by the Ceph tool: it has an unknown form`);
}

/** `undefined` where no pool is called so. */
function poolId(list: unknown, name: string): number | undefined {
  if (!Array.isArray(list)) throw unexpected("pools");
  const pool = list.find((pool) => field(pool, "poolname", "string") === name);
  return pool === undefined ? undefined : field(pool, "poolnum", "number");
}

function readSnapshot(value: unknown): RbdSnapshot {
  return {
    id: field(value, "id", "number"),
    name: field(value, "name", "string"),
    // A text in Ceph 16.
    isProtected: String((value as { protected?: unknown }).protected) === "true",
  };
}

interface Kinds {
  string: string;
  number: number;
}

function field<K extends keyof Kinds>(value: unknown, name: string, kind: K): Kinds[K] {
  const found = typeof value === "object" ? (value as Record<string, unknown> | null)?.[name] : undefined;
  if (typeof found !== kind || found === "") throw unexpected(name);
  return found as Kinds[K];
}
