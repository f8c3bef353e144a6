/** Work under a lease: begun before anything is read, ended however the work ends. docs/gc.md. */
import type { Context } from "../../context.ts";
import { StoreError } from "../../errors.ts";
import type { Project } from "../project.ts";
import { Lease, type LeaseOptions } from "./lease.ts";

/**
 * Runs `work` under a lease, with a context whose signal also aborts once the lease is gone (`Lease.guard`). Throws what
 * `work` throws, and what the writing of the lease throws.
 */
export async function withLease<T>(
  project: Project,
  options: LeaseOptions,
  context: Context,
  work: (lease: Lease, guarded: Context) => Promise<T>,
): Promise<T> {
  const lease = await Lease.begin(project, options, context);
  try {
    return await work(lease, lease.guard(context));
  } finally {
    await lease.end();
  }
}

/** The same for work that goes on without a lease if the store does not let this host write one. */
export async function withLeaseIfWritable<T>(
  project: Project,
  options: LeaseOptions,
  context: Context,
  work: (lease: Lease | undefined, guarded: Context) => Promise<T>,
): Promise<T> {
  const lease = await Lease.begin(project, options, context).catch((error) => {
    if (!(error instanceof StoreError) || error.retryable) throw error;
    context.log.debug({ err: error }, `${options.work} continues without a lease, which cannot be written`);
    return undefined;
  });
  try {
    return await work(lease, lease?.guard(context) ?? context);
  } finally {
    await lease?.end();
  }
}
