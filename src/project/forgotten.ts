/**
 * What was forgotten on purpose. A forget writes down the points that it takes before it takes them, so that a gc can tell
 * them from points that were lost. docs/gc.md.
 */
import { isUnreadable } from "../errors.ts";
import { FORGOTTEN_PREFIX, forgottenName } from "../format/layout.ts";
import { OBJECT_TYPE } from "../format/object.ts";
import { decodeNames, encodeNames } from "../format/plan.ts";
import type { RequestOptions } from "../store/store.ts";
import type { Context } from "../context.ts";
import type { Project } from "./project.ts";
import { assertStored } from "./stored.ts";
import { mapOrdered } from "../util/task_limiter.ts";

/** Records read at once: each may name very many points. */
const READS_AT_ONCE = 4;

/** Writes down, under the lease of that id in hex, that manifests of these names go. */
export async function recordForgotten(
  project: Project,
  { names, lease }: { names: readonly string[]; lease: string },
  options: RequestOptions,
): Promise<void> {
  const object = {
    type: OBJECT_TYPE.forgotten,
    name: forgottenName(lease),
    content: encodeNames(names),
  };
  await project.write(object, { ...options, keys: project.firstKey });
  await assertStored(project, object.name, options);
}

/** The names of all manifests that were forgotten, as far as it is remembered. */
export async function readForgotten(project: Project, context: Context): Promise<ReadonlySet<string>> {
  return new Set((await forgottenRecords(project, context)).flatMap(({ names }) => names));
}

export interface ForgottenRecord {
  /** Of the record. */
  name: string;
  /** Of the manifests that went. */
  names: string[];
  /** By the store's clock. */
  writtenMs: number;
}

/** Every record. One that cannot be read says nothing. */
export async function forgottenRecords(
  project: Project,
  { signal }: Context,
): Promise<ForgottenRecord[]> {
  const read = async (record: { name: string; modifiedMs: number }): Promise<ForgottenRecord> => {
    const { name, modifiedMs: writtenMs } = record;
    try {
      const { content } = await project.read({ type: OBJECT_TYPE.forgotten, name }, { signal });
      return { name, names: decodeNames(content, project.objectKey(name)), writtenMs };
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return { name, names: [], writtenMs };
    }
  };
  const listed = project.list(FORGOTTEN_PREFIX, { signal });
  return await Array.fromAsync(mapOrdered(listed, read, { limit: READS_AT_ONCE }));
}
