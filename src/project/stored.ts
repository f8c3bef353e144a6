/** A second look at a small object on which others will rely: the store may only have said that it has it. */
import { StoreError } from "../errors.ts";
import type { RequestOptions } from "../store/store.ts";
import type { Project } from "./project.ts";

/** Throws a `StoreError` where an object that was just written is not there. */
export async function assertStored(
  project: Project,
  name: string,
  { signal }: RequestOptions,
): Promise<void> {
  if (await project.has(name, { signal })) return;
  throw new StoreError(
    `Cannot write "${project.objectKey(name)}": the store confirmed it but does not have it; retry`,
    {
      retryable: false,
    },
  );
}
