/** Whether a point is whole by what the store says now, for whoever has lost the lease that was to answer for it. */
import { isUnreadable, StoreError } from "../errors.ts";
import type { ObjectRef } from "../format/layout.ts";
import type { OpenManifest } from "../project/manifests.ts";
import { PresentObjects } from "./present_objects.ts";
import { StoredObjects } from "./stored_objects.ts";
import type { Context } from "../context.ts";
import { CondemnedObjects } from "../project/sharing/condemned.ts";
import { downloadPage } from "./page_table.ts";
import type { Project } from "../project/project.ts";

/**
 * True only where the store says twice of all pages and chunks of a manifest that is there that it has them, and no gc plan
 * condemns one: a sweep that has yet to read the manifests spares them, and one that has read them before is of such a plan.
 */
export async function isWhole(
  project: Project,
  { pages }: OpenManifest,
  context: Context,
): Promise<boolean> {
  const { signal } = context;
  // Listed twice, for one listing may be short.
  const plans = [
    await CondemnedObjects.read(project, context),
    await CondemnedObjects.read(project, context),
  ];
  const present = new PresentObjects(project, { signal });
  const stored = new StoredObjects(project, { signal });
  const isGood = async (ref: ObjectRef): Promise<boolean> => {
    for (const condemned of plans) if (await condemned.has(ref)) return false;
    const sizeBytes = await present.sizeOf(ref);
    if (sizeBytes !== undefined) await stored.add(ref, sizeBytes);
    return sizeBytes !== undefined;
  };
  try {
    for (const page of pages.refs()) {
      if (!await isGood(page)) return false;
      const { entries } = await downloadPage(page, { project, signal });
      for (const ref of entries.refs()) if (!await isGood(ref)) return false;
    }
    await stored.check();
    return true;
  } catch (error) {
    if (isUnreadable(error) || error instanceof StoreError) return false;
    throw error;
  }
}
