/** Reads a restored target back from its device, past the page cache, and holds every chunk against the backup. */
import { DamageError, VarveError } from "../../errors.ts";
import { sameBytes } from "../../util/bytes.ts";
import type { ChunkResources } from "../../volume/resources.ts";
import type { Context } from "../../context.ts";
import type { OpenManifest } from "../../project/manifests.ts";
import type { Wanted } from "./restore_plan.ts";
import type { Target } from "../../targets/target.ts";
import { mapOrdered } from "../../util/task_limiter.ts";

interface VerifyTargetOptions {
  target: Target;
  manifest: OpenManifest;
  resources: ChunkResources;
}

/** Bytes that were read back and are right. Throws `damage` where one chunk is not as the backup says. */
export async function verifyTarget(
  plan: AsyncIterable<Wanted>,
  options: VerifyTargetOptions,
  context: Context,
): Promise<number> {
  const { target, resources } = options;
  await target.dropCache();
  let verifiedBytes = 0;
  const checks = mapOrdered(plan, (wanted) => check(wanted, options, context), {
    limit: resources.window,
  });
  for await (const bytes of checks) verifiedBytes += bytes;
  return verifiedBytes;
}

async function check(
  wanted: Wanted,
  { target, manifest, resources }: VerifyTargetOptions,
  context: Context,
): Promise<number> {
  context.signal.throwIfAborted();
  if (wanted.damage !== undefined) throw notKnown(wanted, target);
  const buffer = await resources.chunks.acquire();
  try {
    await target.read(wanted.offset, buffer.bytes.subarray(0, wanted.length));
    const id = await resources.pool.hash({ buffer, length: wanted.length }, manifest.keys);
    if (sameBytes(id, wanted.entry?.id)) return wanted.length;
  } finally {
    buffer.release();
  }
  const range = `${wanted.length} bytes at offset ${wanted.offset}`;
  throw new VarveError(
    "damage",
    `Cannot verify "${target.name}": ${range} differ from the data written`,
  );
}

/** Without its page nobody knows what the chunk should be. */
function notKnown({ offset, damage }: Wanted, { name }: Target): DamageError {
  return new DamageError(
    damage!.key,
    `Cannot verify "${name}": the content at offset ${offset} is not known: ${damage!.reason}`,
  );
}
