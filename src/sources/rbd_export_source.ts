/** All bytes of an image's snapshot, by `rbd export`: what a point is compared with. */
import { UsageError } from "../errors.ts";
import type { SourceIds } from "../format/source_ids.ts";
import { RawPipeSource } from "./raw.ts";
import type { RbdImage, RbdSnapshot } from "../rbd/image.ts";

export class RbdExportSource extends RawPipeSource {
  readonly ids: SourceIds;

  private constructor(
    image: RbdImage,
    { snapshot, signal }: { snapshot: RbdSnapshot; signal: AbortSignal },
  ) {
    super(image.export(snapshot, signal));
    this.ids = { source_id: image.sourceId, source_snapshot_id: String(snapshot.id) };
  }

  /** Throws `UsageError` where no snapshot is named: the head moves. */
  static async open(
    image: RbdImage,
    { snapshot: name, signal }: { snapshot: string | undefined; signal: AbortSignal },
  ): Promise<RbdExportSource> {
    if (name === undefined) {
      throw new UsageError(`Cannot compare with "${image.name}": it needs a snapshot, as ${image.name}@SNAP`);
    }
    const snapshot = image.find(name, await image.snapshots(signal));
    return new RbdExportSource(image, { snapshot, signal });
  }
}
