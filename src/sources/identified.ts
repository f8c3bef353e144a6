/** A source of which the caller knows what it is made from: the ids that a script gives beside its stream. */
import { UsageError } from "../errors.ts";
import type { SourceIds } from "../format/source_ids.ts";
import type { Source, VolumeDiff } from "./source.ts";

/**
 * The source, each difference with the ids. Those of snapshots are about one difference: its `diffs` throw `UsageError` at a
 * second one, and where the first one begins at no snapshot although its id is given.
 */
export function identified(source: Source, ids: SourceIds): Source {
  return {
    name: source.name,
    file: source.file,
    get bytesRead() {
      return source.bytesRead;
    },
    diffs: () => identifyDiffs(source, ids),
    close: () => source.close(),
  };
}

async function* identifyDiffs(source: Source, ids: SourceIds): AsyncGenerator<VolumeDiff> {
  const { source_snapshot_id, from_snapshot_id } = ids;
  let count = 0;
  for await (const diff of source.diffs()) {
    if (count++ > 0 && (source_snapshot_id ?? from_snapshot_id) !== undefined) {
      throw new UsageError(
        `Cannot read "${source.name}": it has several snapshots, but ids of one were given; remove them`,
      );
    }
    if (from_snapshot_id !== undefined && diff.fromSnapshot === undefined) {
      throw new UsageError(
        `Cannot read "${source.name}": it is a full stream and starts at no snapshot; ` +
          "remove --from-snapshot-id",
      );
    }
    // A pipe's size is set on the object itself, once it is known.
    diff.ids = ids;
    yield diff;
  }
}
