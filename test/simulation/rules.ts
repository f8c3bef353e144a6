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
      find: "  return await withLease(project, { work",
      replace:
        "  Object.assign(options, { early: await CondemnedObjects.read(project, context) });\n  return await withLease(project, { work",
    },
    {
      file: "engine/backup/backup.ts",
      find: "    CondemnedObjects.read(project, context),\n",
      replace: "    (options as unknown as { early: CondemnedObjects }).early,\n",
    },
  ],
  // The points that the base is chosen from, and the newest itself, which stays in memory: a look at either after the lease
  // would show that it is gone.
  "the lease is written before the base is read": [
    {
      file: "engine/backup/backup.ts",
      find: "  return await withLease(project, { work",
      replace: `  const early = await findLatest(project, { volume, storeTimeMs: Infinity }, context);
  const earlier = new EarlierPoints(project, { volume, passedOver: early.passedOver });
  await earlier.read(context);
  Object.assign(options, { early, earlier });
  return await withLease(project, { work`,
    },
    {
      file: "engine/backup/backup.ts",
      find: "= await findLatest(project, place, context);",
      replace: "= (options as unknown as { early: Awaited<ReturnType<typeof findLatest>> }).early;",
    },
    {
      file: "engine/backup/backup.ts",
      find: "= new EarlierPoints(project, { volume: options.volume, passedOver });",
      replace: "= (options as unknown as { earlier: EarlierPoints }).earlier;",
    },
  ],
  "a condemned key counts as absent": [
    {
      file: "project/sharing/condemned.ts",
      find: "          if (shards.has(shard) && await",
      replace: "          if (false && await",
    },
  ],
  "a condemned key is never used again": [
    { file: "volume/write_chunk.ts", find: "? { id, lease } : plain;", replace: "? plain : plain;" },
  ],
  "what only the base refers to is held against the plans": [
    {
      file: "engine/backup/volume_writer.ts",
      find: "if (doubt !== undefined) await this.#rescue(total, doubt);",
      replace: "",
    },
  ],
  "chunks are durable before the manifest": [
    {
      file: "volume/seal_chunk.ts",
      find: "await project.put(chunkName(ref), body, { signal });",
      replace: "project.put(chunkName(ref), body.slice(), {}).catch(() => {});",
    },
  ],
  "the lease is looked at around the manifest": [
    {
      file: "volume/commit.ts",
      find: "await lease.send((options) => writeManifest(project, { ...manifest, info }, options));",
      replace: "await writeManifest(project, { ...manifest, info }, {});",
    },
    {
      file: "volume/commit.ts",
      find: "      lease.confirm(undefined),\n",
      replace: "",
    },
  ],
  "a dead lease stays dead": [
    {
      file: "project/sharing/lease.ts",
      find: "    await this.storeTimeMs(signal);\n",
      replace: "    return await this.#write('running', { signal });\n",
    },
    // Nor is it noticed afterwards that too much of the store's time has passed.
    {
      file: "project/sharing/lease.ts",
      find: "if (passedMs >= LEASE_TRUST_MS) {",
      replace: "if (false) {",
    },
  ],
  "nobody relies on a lease that may be dead": [
    {
      file: "project/sharing/lease.ts",
      find: "LEASE_TRUST_MS = LEASE_DEAD_MS / 2",
      replace: "LEASE_TRUST_MS = LEASE_DEAD_MS * 9",
    },
  ],
  "a lease outlives what may still be under way": [
    { file: "project/sharing/lease.ts", find: "if (!this.#hasNoPendingRequests) {", replace: "if (false) {" },
  ],
  "further attempts need a trusted lease": [
    {
      file: "project/sharing/lease.ts",
      find: "      this.#hasNoPendingRequests = false;\n      await this.confirm(signal);",
      replace: "      this.#hasNoPendingRequests = false;",
    },
  ],
  "a sweep waits for the wait-set": [
    {
      file: "engine/gc/settle_plans.ts",
      find: "return isDue && !living.some((lease) => head.waits.includes(lease.id)) ?",
      replace: "return isDue ?",
    },
    { file: "engine/gc/gc.ts", find: " && waits.length === 0)", replace: ")" },
  ],
  "the leases are listed after the plan is written": [
    {
      file: "engine/gc/gc.ts",
      find: "  const { living } = await leasesBeforePlans(run, context);",
      replace:
        "  const { living } = await leasesBeforePlans(run, context);\n  Object.assign(options, { early: { living, dead: [] } });",
    },
    {
      file: "engine/gc/gc.ts",
      find: "  const survey = await surveyLeases(project, nowMs, context);\n  if (isPlanned)",
      replace: "  const survey = (options as unknown as { early: LeaseSurvey }).early;\n  if (isPlanned)",
    },
  ],
  "a sweep reads the manifests a second time": [
    { file: "engine/gc/sweep.ts", find: "if (references.has(ref))", replace: "if (false)" },
  ],
  "a swept plan goes on condemning": [
    {
      file: "engine/gc/gc.ts",
      find: "  await writeEnd(project, { lease, plan: plan.id });\n  report",
      replace: "  await removePlan(project, { plan, lease });\n  report",
    },
    {
      file: "engine/gc/gc.ts",
      find: "  type StoredPlan,\n",
      replace: "  removePlan,\n  type StoredPlan,\n",
    },
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
      find: "options.dryRun ? await work() :",
      replace: "options.dryRun || true ? await work() :",
    },
  ],
  "a copy's lease is written before the plans are read": [
    {
      file: "engine/copy/copy.ts",
      find: "  return await withLease(target,",
      replace:
        "  const early = await CondemnedObjects.read(target, context);\n  return await withLease(target,",
    },
    {
      file: "engine/copy/copy.ts",
      find: "const condemned = await CondemnedObjects.read(target, guarded);",
      replace: "const condemned = early;",
    },
  ],
  "what a copy finds may be condemned": [
    {
      file: "volume/chunk_copier.ts",
      find: "if (await this.#options.condemned.has(...refsOf(location))) {",
      replace: "if (false) {",
    },
  ],
  "a backup looks for the project's key after its lease, and around the manifest": [
    {
      file: "engine/backup/backup.ts",
      find: "    project.assertNotErased({ signal: context.signal }),\n  ]);\n  const place",
      replace: "  ]);\n  const place",
    },
    {
      file: "volume/commit.ts",
      find: "project.assertNotErased({ signal: context.signal }),",
      replace: "",
    },
    { file: "volume/commit.ts", find: "      project.assertNotErased({}),\n", replace: "" },
  ],
  "whoever deletes lists the manifests twice": [
    {
      file: "volume/references.ts",
      find: "  const left = new Set(seen);",
      replace: "  if (true as boolean) return;\n  const left = new Set(seen);",
    },
  ],
  "a manifest that is listed and not given is not forgotten": [
    {
      file: "volume/references.ts",
      find: "if (isMissing && await isGone(project, place, context)) {",
      replace: "if (isMissing) {",
    },
    {
      file: "volume/references.ts",
      find:
        "        if (forgotten !== undefined) await assertForgotten([nameOf(place)], { project, forgotten });\n",
      replace: "",
    },
  ],
  "a backup looks at the plans again before its manifest": [
    { file: "volume/commit.ts", find: "    condemned.assertUnseen(lease),\n", replace: "" },
  ],
  "the store is asked for the lease before what must not be late": [
    {
      file: "project/sharing/lease.ts",
      find: "    await this.confirm(signal);\n    const beforeRetry",
      replace: "    this.assertFresh();\n    const beforeRetry",
    },
  ],
  "the leases are listed twice": [
    { file: "project/sharing/leases.ts", find: "look < 2", replace: "look < 1" },
  ],
  "an old plan is never swept": [
    { file: "engine/gc/settle_plans.ts", find: " || nowMs - head.made_ms > PLAN_LIFE_MS", replace: "" },
  ],
  "a forget asks twice whether a point is held": [
    {
      file: "engine/retention/forget.ts",
      find: " ||\n    (await Holds.read(project, volume, context)).has({ volume, backup });",
      replace: ";",
    },
  ],
  "what was stored is looked at once more": [
    { file: "engine/backup/prepare_point.ts", find: "  await writer.assertStored();\n", replace: "" },
  ],
  "of all clocks the one that says most counts": [
    { file: "context.ts", find: "if (ms > most.ms)", replace: 'if (most.by === "" || ms < most.ms)' },
  ],
  "a hold buries the forgets that are dead": [
    {
      file: "engine/retention/hold.ts",
      find: " ?? await findUnburied(project, leases, context)",
      replace: "",
    },
  ],
  "a forget's deletion does not outlive its lease": [
    { file: "engine/retention/forget.ts", find: "lease.send(remove)", replace: "remove(context)" },
  ],
  "what was written last is there when the point is committed": [
    {
      file: "volume/commit.ts",
      find: "newest === undefined ? undefined : assertNewest(project, { manifest, newest }),",
      replace: "undefined,",
    },
  ],
  "points that are missing stop a gc": [
    {
      file: "engine/gc/gc.ts",
      find: "    if (!force) {\n",
      replace: "    if (false) {\n",
    },
    {
      file: "engine/gc/gc.ts",
      find: "report.stopped = options.force ? null :",
      replace: "report.stopped = options.force || true ? null :",
    },
  ],
};

/** Where seeds that notice a rule's absence were found, if that takes long from the first on. Only spares time. */
export const NOTICED_BY: Readonly<Record<string, number>> = {
  "the lease is written before the plans are read": 877,
  "the lease is written before the base is read": 206,
  "a condemned key is never used again": 5,
  "what only the base refers to is held against the plans": 734,
  "the lease is looked at around the manifest": 387,
  "a dead lease stays dead": 43,
  "nobody relies on a lease that may be dead": 116,
  "a lease outlives what may still be under way": 480,
  "further attempts need a trusted lease": 90,
  "the leases are listed after the plan is written": 2325,
  "a swept plan goes on condemning": 843,
  "a restore announces itself": 1789,
  "what a copy finds may be condemned": 267,
  "a backup looks for the project's key after its lease, and around the manifest": 862,
  "whoever deletes lists the manifests twice": 66,
  "a manifest that is listed and not given is not forgotten": 1470,
  "a backup looks at the plans again before its manifest": 473,
  "the store is asked for the lease before what must not be late": 16,
  "the leases are listed twice": 13,
  "a copy's lease is written before the plans are read": 230,
  "an old plan is never swept": 805,
  "a forget asks twice whether a point is held": 285,
  "of all clocks the one that says most counts": 116,
  "a hold buries the forgets that are dead": 97,
};

export type RuleName = string;
