/** All bytes of an image's snapshot, by `rbd export`: what a point is compared with. */
import { UsageError } from "../errors.ts";
import { idsDiffer } from "../format/source_ids.ts";
import { RawPipeSource } from "./raw.ts";
import type { RbdImage, RbdSnapshot } from "../rbd/image.ts";
import type { VolumeState } from "./source.ts";

export class RbdExportSource extends RawPipeSource {
  readonly #image: RbdImage;
  readonly #snapshot: RbdSnapshot;
  readonly #warn: (line: string) => void;

  private constructor(
    image: RbdImage,
    { snapshot, signal, warn }: { snapshot: RbdSnapshot; signal: AbortSignal; warn: (line: string) => void },
  ) {
    super(image.export(snapshot, signal));
    this.#image = image;
    this.#snapshot = snapshot;
    this.#warn = warn;
  }

  /** Throws `UsageError` where no snapshot is named: the head moves. */
  static async open(
    image: RbdImage,
    { snapshot: name, signal, warn }: {
      snapshot: string | undefined;
      signal: AbortSignal;
      warn: (line: string) => void;
    },
  ): Promise<RbdExportSource> {
    if (name === undefined) {
      throw new UsageError(`Cannot compare with "${image.name}": it needs a snapshot, as ${image.name}@SNAP`);
    }
    const snapshot = image.find(name, await image.snapshots(signal));
    return new RbdExportSource(image, { snapshot, signal, warn });
  }

  /** Says where it is known that the snapshot is not the one of the point that it is compared with. */
  async prepare({ points }: VolumeState): Promise<void> {
    const { sourceId } = this.#image;
    for (const { backup, source_id, source_snapshot_id } of points) {
      const isAnother = idsDiffer(source_id, sourceId) ||
        idsDiffer(source_snapshot_id, String(this.#snapshot.id));
      if (isAnother) {
        this.#warn(`"${this.name}" has another snapshot id than restore point ${backup}`);
      }
    }
  }
}
