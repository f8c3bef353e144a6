/**
 * The rules of docs/gc.md, and for each the change of the source that switches it off.
 *
 * There is none about what a host remembers of a project's chunks, for it trusts none of it: a chunk counts as present because
 * the store says so, or because a manifest names it that was read after the lease was written.
 */

export interface Edit {
  /** Below src. */
  file: string;
  /** Is there once. */
  find: string;
  replace: string;
}

export const BROKEN_RULES: Record<string, readonly Edit[]> = {
  "the lease is written before the plans are read": [
    {
      file: "engine/backup/backup.ts",
      find: "  const lease = await beginLease(",
      replace:
        "  Object.assign(options, { early: await Condemned.read(project, context) });\n  const lease = await beginLease(",
    },
    {
      file: "engine/backup/backup.ts",
      find: "const condemned = await Condemned.read(project, context);",
      replace: "const condemned = (options as unknown as { early: Condemned }).early;",
    },
  ],
  "the lease is written before the base is read": [
    {
      file: "engine/backup/backup.ts",
      find: "  const lease = await beginLease(",
      replace:
        `  const early = await findLatest(project, { volume: options.volume, seenMs: Infinity }, context);
  Object.assign(options, { early });
  const lease = await beginLease(`,
    },
    {
      file: "engine/backup/backup.ts",
      find: "= await findLatest(project, place, context);",
      replace: "= (options as unknown as { early: Awaited<ReturnType<typeof findLatest>> }).early;",
    },
    // A host that remembers pages does not notice that they are gone, too.
    {
      file: "engine/volume_cache.ts",
      find: "    const fresh = this.#fresh.get(page);",
      replace: `    const known = (globalThis as any).pages?.get(Buffer.from(ref.id).toString("hex"));
    if (known !== undefined) return EntryList.decode(known);
    const fresh = this.#fresh.get(page);`,
    },
    {
      file: "engine/volume_cache.ts",
      find: "    this.#fresh.delete(page);\n",
      replace:
        `    ((globalThis as any).pages ??= new Map()).set(Buffer.from(ref.id).toString("hex"), entries.encode());
    this.#fresh.delete(page);\n`,
    },
  ],
  "a condemned key counts as absent": [
    {
      file: "engine/gc/condemned.ts",
      find: "if (!this.#names.has(shard)) continue;",
      replace: "continue;",
    },
  ],
  "a condemned key is never used again": [
    { file: "engine/chunks/write_chunk.ts", find: "? { id, lease } : plain;", replace: "? plain : plain;" },
  ],
  "what only the base refers to is held against the plans": [
    {
      file: "engine/backup/volume_writer.ts",
      find: "if (!this.#options.condemned.none)",
      replace: "if (false)",
    },
  ],
  "chunks are durable before the manifest": [
    {
      file: "engine/chunks/write_chunk.ts",
      find: "await project.store.put(project.key(chunkName(ref)), body, { signal });",
      replace: "project.store.put(project.key(chunkName(ref)), body.slice()).catch(() => {});",
    },
  ],
  "the lease is looked at around the manifest": [
    {
      file: "engine/backup/commit.ts",
      find: "await lease.seenMs(context.signal);",
      replace: "",
    },
    {
      file: "engine/backup/commit.ts",
      find: "await lease.send((options) => writeManifest(project, manifest, options));",
      replace: "await writeManifest(project, manifest, {});",
    },
    {
      file: "engine/backup/commit.ts",
      find: "await lease.seenMs(undefined);",
      replace: "",
    },
  ],
  "a dead lease stays dead": [
    {
      file: "engine/gc/lease.ts",
      find: "if (!this.isTrusted) return this.#gone.abort(this.#lost());",
      replace: "return await this.#write('running', { signal });",
    },
  ],
  "nobody relies on a lease that may be dead": [
    {
      file: "engine/gc/lease.ts",
      find: "LEASE_TRUST_MS = LEASE_DEAD_MS / 2",
      replace: "LEASE_TRUST_MS = LEASE_DEAD_MS * 9",
    },
  ],
  "a lease outlives what may still be under way": [
    { file: "engine/gc/lease.ts", find: "if (!this.#isSettled) {", replace: "if (false) {" },
    { file: "engine/gc/lease.ts", find: "return this.#isSettled;", replace: "return true;" },
  ],
  "further attempts need a trusted lease": [
    {
      file: "engine/gc/lease.ts",
      find: "      this.#isSettled = false;\n      this.checkTrust();",
      replace: "      this.#isSettled = false;",
    },
  ],
  "a sweep waits for the wait-set": [
    { file: "engine/gc/gc.ts", find: "if (waits.some((id) => living.has(id))) continue;", replace: "" },
  ],
  "the leases are listed after the plan is written": [
    {
      file: "engine/gc/gc.ts",
      find: "  const youngMs = await oldestStart(",
      replace:
        `  const early = (await livingLeases(project, context)).filter(mayReferToChunks).map(({ id }) => id);
  const youngMs = await oldestStart(`,
    },
    {
      file: "engine/gc/gc.ts",
      find: "  await fixWaits(project, lease.idHex, context);",
      replace: "  await writeHead(project, lease.idHex, { head: { waits: early }, context });",
    },
  ],
  "a sweep reads the manifests a second time": [
    { file: "engine/gc/sweep.ts", find: "if (work.references.has(ref))", replace: "if (false)" },
  ],
  "one sweep of a plan at a time": [
    { file: "engine/gc/sweep.ts", find: "return others.length === 0 && await", replace: "return await" },
  ],
  "a patch needs what it is over": [
    {
      file: "format/entries.ts",
      find: "return base === undefined ? [object] : [object, base];",
      replace: "return base === undefined ? [object] : [object];",
    },
  ],
  "a restore announces itself": [
    {
      file: "engine/restore/restore.ts",
      find: "const lease = await Lease.tryBegin(",
      replace: "const lease = await ((..._: unknown[]) => Promise.resolve(undefined as Lease | undefined))(",
    },
  ],
  "a copy's lease is written before the plans are read": [
    {
      file: "engine/copy/copy.ts",
      find: "  const lease = await Lease.begin(target,",
      replace:
        "  const early = await Condemned.read(target, context);\n  const lease = await Lease.begin(target,",
    },
    {
      file: "engine/copy/copy.ts",
      find: "const condemned = await Condemned.read(target, guarded);",
      replace: "const condemned = early;",
    },
  ],
  "what a copy finds may be condemned": [
    {
      file: "engine/copy/chunk_copier.ts",
      find:
        "if (await this.#options.condemned.has(...refsOf(place))) return await this.#storeAnew(place, writer);",
      replace: "",
    },
  ],
  "a backup looks for the project's key after its lease, and around the manifest": [
    {
      file: "engine/backup/backup.ts",
      find: "await project.checkNotErased({ signal: context.signal });",
      replace: "",
    },
    {
      file: "engine/backup/commit.ts",
      find: "await project.checkNotErased({ signal: context.signal });",
      replace: "",
    },
    { file: "engine/backup/commit.ts", find: "await project.checkNotErased({});", replace: "" },
  ],
};

export type RuleName = string;
