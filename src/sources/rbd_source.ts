/**
 * The source `rbd:POOL/IMAGE[@SNAP]`: what changed in an image since the newest of its snapshots that was backed up. Without
 * a snapshot's name it makes one of its own, and once that is backed up removes those it made before.
 */
import { createHash, randomBytes } from "node:crypto";
import { describeError } from "../errors.ts";
import { idsDiffer } from "../format/source_ids.ts";
import type { Input } from "../os/input.ts";
import type { RbdImage, RbdSnapshot } from "../rbd/image.ts";
import type { RbdReader } from "../rbd/reader.ts";
import { chooseSince } from "./rbd_since.ts";
import { RbdStreamSource } from "./rbd_stream.ts";
import type { Source, VolumeDiff, VolumeReader, VolumeState } from "./source.ts";

/** How long the last commands of a run may take, which remove snapshots. */
const CLEANUP_LIMIT_MS = 60_000;

interface RbdSourceOptions {
  /** The snapshot to back up; without it one is made. */
  snapshot: string | undefined;
  /** The whole image, though a difference would do. */
  isFull: boolean;
  signal: AbortSignal;
  /** Told what is worth a line. */
  warn: (line: string) => void;
}

export class RbdSource implements Source {
  readonly #image: RbdImage;
  readonly #options: RbdSourceOptions;
  #input: Input | undefined;
  #reader: RbdReader | undefined;
  #to: RbdSnapshot | undefined;
  #since: RbdSnapshot | undefined;
  /** What all names of own snapshots of the volume begin with, once one of them was made. */
  #own: string | undefined;
  /** The own snapshot that goes again unless what it holds is committed. */
  #made: { name: string; isCertain: boolean } | undefined;

  constructor(image: RbdImage, options: RbdSourceOptions) {
    this.#image = image;
    this.#options = options;
  }

  get name(): string {
    const snapshot = this.#to?.name ?? this.#options.snapshot;
    return snapshot === undefined ? this.#image.name : `${this.#image.name}@${snapshot}`;
  }

  get bytesRead(): number {
    return this.#input?.reader.offset ?? 0;
  }

  async prepare({ id, points }: VolumeState): Promise<void> {
    const { signal, isFull } = this.#options;
    const name = this.#options.snapshot ?? await this.#makeSnapshot(id);
    const snapshots = await this.#image.snapshots(signal);
    const to = this.#to = this.#image.find(name, snapshots);
    if (isFull) return;
    const { sourceId } = this.#image;
    const { snapshot, reason } = chooseSince({ sourceId, to, snapshots }, points);
    this.#since = snapshot;
    const [last] = points;
    if (snapshot !== undefined && idsDiffer(last?.source_id, sourceId)) {
      this.#options.warn(
        `the restore point before this one, ${last!.backup}, is of another image than "${this.#image.name}"`,
      );
    }
    if (reason !== undefined) this.#options.warn(`"${this.#image.name}" is backed up in full: ${reason}`);
  }

  async *diffs(): AsyncGenerator<VolumeDiff> {
    const ids = {
      source_id: this.#image.sourceId,
      source_snapshot_id: String(this.#to!.id),
      from_snapshot_id: this.#since && String(this.#since.id),
    };
    const to = this.#to!;
    this.#input = this.#image.exportDiff({ to, since: this.#since }, this.#options.signal);
    for await (const diff of new RbdStreamSource(this.#input).diffs()) yield Object.assign(diff, { ids });
  }

  async openReader(): Promise<VolumeReader> {
    return this.#reader = await this.#image.openReader(this.#to!, this.#options.signal);
  }

  async committed({ isAlone }: { isAlone: boolean }): Promise<void> {
    this.#made = undefined;
    if (this.#own === undefined || !isAlone) return;
    await this.#removeOlder(this.#own).catch((error) =>
      this.#options.warn(`older snapshots are kept until the next backup: ${describeError(error)}`)
    );
  }

  async close(): Promise<void> {
    await Promise.all([this.#input?.close(), this.#reader?.close()]);
    const made = this.#made;
    if (made === undefined) return;
    this.#made = undefined;
    await this.#image.removeSnapshot(made.name, AbortSignal.timeout(CLEANUP_LIMIT_MS)).catch((error) => {
      if (made.isCertain) {
        this.#options.warn(`${describeError(error)}; the next backup that succeeds removes it`);
      }
    });
  }

  /** An interrupted command may have made it all the same. */
  async #makeSnapshot(volumeId: string): Promise<string> {
    this.#own = ownPrefix(volumeId);
    const name = ownName(this.#own);
    this.#made = { name, isCertain: false };
    await this.#image.createSnapshot(name, this.#options.signal);
    this.#made.isCertain = true;
    // After the snapshot: a restore sets its mark before it changes the image.
    await this.#image.assertNotHalfRestored(this.#options.signal);
    return name;
  }

  /** Later ones are of runs that began later. */
  async #removeOlder(own: string): Promise<void> {
    const { warn } = this.#options;
    const signal = AbortSignal.any([this.#options.signal, AbortSignal.timeout(CLEANUP_LIMIT_MS)]);
    const to = this.#to!;
    const older = (await this.#image.snapshots(signal)).filter(({ id, name }) =>
      id < to.id && isOwn(name, own)
    );
    for (const { name, isProtected } of older) {
      if (isProtected) {
        warn(
          `the older snapshot "${this.#image.name}@${name}" is kept because it is protected (for a clone)`,
        );
        continue;
      }
      await this.#image.removeSnapshot(name, signal).catch((error) => {
        signal.throwIfAborted();
        warn(describeError(error));
      });
    }
  }
}

/** `varve-VOLUME-`: whatever else is backed up from the same image, to other volumes or repositories, has another. */
function ownPrefix(volumeId: string): string {
  return `varve-${createHash("sha256").update(volumeId).digest("hex").slice(0, 8)}-`;
}

/** A time in UTC, and four digits for two that begin in one millisecond. */
function ownName(prefix: string): string {
  const time = new Date().toISOString().replace(/[-:.]/g, "");
  return `${prefix}${time}-${randomBytes(2).toString("hex")}`;
}

function isOwn(name: string, prefix: string): boolean {
  return name.startsWith(prefix) && /^\d{8}T\d{9}Z-[0-9a-f]{4}$/.test(name.slice(prefix.length));
}
