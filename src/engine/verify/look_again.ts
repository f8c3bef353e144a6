/** A look at one object, past every cache and every earlier answer: is it whole now? */
import { cannotRead, unlessUnreadable } from "../../errors.ts";
import { chunkName, type ObjectRef } from "../../format/layout.ts";
import { OBJECT_TYPE, objectType } from "../../format/object.ts";
import { ChunkReader } from "../../volume/read_chunk.ts";
import type { ChunkResources } from "../../volume/resources.ts";
import type { Context } from "../../context.ts";
import { downloadPage } from "../../volume/page_table.ts";
import type { Project } from "../../project/project.ts";
import { readTwice } from "../../project/read_twice.ts";

/** What an object is shorter than: the first bytes tell its type. */
const TYPE_RANGE = { offset: 0, length: 8 };

/** Whether the chunk, patch or page at `ref` can be read and is what its name says. */
export async function isWhole(
  project: Project,
  { ref, resources }: { ref: ObjectRef; resources: ChunkResources },
  { signal }: Context,
): Promise<boolean> {
  const key = project.objectKey(chunkName(ref));
  const read = readTwice(() => readWhole(project, { ref, resources, signal }), { key });
  return await read.then(() => true).catch(unlessUnreadable) ?? false;
}

async function readWhole(
  project: Project,
  { ref, resources, signal }: { ref: ObjectRef; resources: ChunkResources; signal: AbortSignal },
): Promise<void> {
  const top = await project.get(chunkName(ref), { signal, range: TYPE_RANGE });
  const key = project.objectKey(chunkName(ref));
  if (top.length === 0) throw cannotRead(key, "it is empty");
  if (objectType(top) === OBJECT_TYPE.page) return void await downloadPage(ref, { project, signal });
  const buffer = await resources.bases.acquire();
  try {
    await new ChunkReader({ project, resources }, signal).assertObject(buffer, ref);
  } finally {
    buffer.release();
  }
}
