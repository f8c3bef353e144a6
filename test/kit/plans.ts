/** Writes gc plans for tests: the condemned objects of a project, as a collector would list them. */
import { openProject } from "../../src/project/open_project.ts";
import type { Repository } from "../../src/project/repository.ts";
import { type ObjectRef, parseChunkName, planShardName, projectPrefix } from "../../src/format/layout.ts";
import { OBJECT_TYPE } from "../../src/format/object.ts";
import { encodePlanShard } from "../../src/format/plan.ts";
import { CHUNKS, keysOf, PROJECT, testContext } from "./engine.ts";

const PLAN = "9a".repeat(16);

/** Condemns the objects with these keys, in one plan. */
export async function condemn(repository: Repository, keys: readonly string[]): Promise<void> {
  const project = await openProject(repository, { name: PROJECT, secrets: [] }, testContext());
  const shards = Map.groupBy(keys.map(refOf), ({ id }) => id[0]!);
  for (const [shard, refs] of shards) {
    const object = { type: OBJECT_TYPE.planShard, name: planShardName(PLAN, shard) };
    await project.write({ ...object, content: encodePlanShard(refs) }, { keys: project.firstKey });
  }
}

/** Chunks and pages of the project, by their keys. */
export function chunkKeys(repository: Repository): Promise<string[]> {
  return keysOf(repository.store, CHUNKS);
}

function refOf(key: string): ObjectRef {
  return parseChunkName(key.slice(projectPrefix(PROJECT).length))!;
}
