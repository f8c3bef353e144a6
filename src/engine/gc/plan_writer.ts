/**
 * Writes the shards of a plan while the garbage is found. A plan that is small is one shard: a backup reads the shards of
 * every plan that there is, and most plans are small.
 */
import { type ObjectRef, type PlanShard, planShardName } from "../../format/layout.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import { encodePlanShard } from "../../format/plan.ts";
import type { Lease } from "../../project/sharing/lease.ts";
import { removePlan, type StoredPlan } from "../../project/sharing/plans.ts";
import type { Project } from "../../project/project.ts";

/** Objects that one shard lists, where it lists all of a plan: 768 KiB. */
const SMALL_PLAN_OBJECTS = 16 * 1024;

export class PlanWriter {
  readonly #project: Project;
  readonly #lease: Lease;
  readonly #written: PlanShard[] = [];
  /** By first byte of the id, what is not written yet: all of it, while the plan is small. */
  #waiting = new Map<number, ObjectRef[]>();
  #isSmall = true;
  #size = 0;

  /** The plan gets the id of the lease. */
  constructor(project: Project, lease: Lease) {
    this.#project = project;
    this.#lease = lease;
  }

  /** Objects that the plan condemns. */
  get size(): number {
    return this.#size;
  }

  /** All that there are of this first byte. */
  async add(shard: number, refs: ObjectRef[]): Promise<void> {
    if (refs.length === 0) return;
    this.#size += refs.length;
    this.#waiting.set(shard, refs);
    if (this.#isSmall && this.#size <= SMALL_PLAN_OBJECTS) return;
    this.#isSmall = false;
    const waiting = this.#waiting;
    this.#waiting = new Map();
    for (const [shard, refs] of waiting) await this.#write(shard, refs);
  }

  /** Writes what is left. */
  async finish(): Promise<void> {
    const refs = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    if (refs.length > 0) await this.#write("all", refs);
  }

  /** The plan as it stands in the store, with this head. */
  plan<Head extends StoredPlan["head"]>(head: Head) {
    return { id: this.#lease.idHex, head, shards: this.#written, endedMs: undefined };
  }

  /** Takes the shards away again: without a head nothing was swept by them. */
  async abandon(): Promise<void> {
    if (this.#written.length === 0) return;
    await removePlan(this.#project, { plan: this.plan("absent"), lease: this.#lease });
  }

  async #write(shard: PlanShard, refs: ObjectRef[]): Promise<void> {
    this.#written.push(shard);
    const object = {
      type: OBJECT_TYPE.planShard,
      name: planShardName(this.#lease.idHex, shard),
      content: encodePlanShard(refs),
    };
    const options = { keys: this.#project.firstKey };
    await this.#lease.send((send) => this.#project.write(object, { ...send, ...options }));
  }
}
