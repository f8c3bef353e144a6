/**
 * A lease: the announcement of running work, which a gc waits for. docs/gc.md.
 *
 * It is written before anything else is read, refreshed while the work runs, and removed at the end; where removing is
 * refused, a final state is written into it. Whether it is dead is told by the store's clock alone. Whether it can still
 * be trusted is told by every clock there is: those of this host since it was last written, of which the one that says
 * most counts, and the store's, between one look at the lease and the next.
 */
import { describeError, StoreError, VarveError } from "../../errors.ts";
import { toHex } from "../../util/bytes.ts";
import { decodeDocument, encodeDocument, oneOf, orNull, record } from "../../format/document.ts";
import * as field from "../../format/fields.ts";
import { leaseName } from "../../format/layout.ts";
import { LEASE_ID_BYTES } from "../../format/limits.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import type { RequestOptions } from "../../store/store.ts";
import { type ClockReadings, type Context, elapsedSince, readClocks } from "../../context.ts";
import { withGrace } from "./grace.ts";
import type { Project } from "../project.ts";
import { randomBytes } from "../../util/random.ts";

/** A lease that was not refreshed for this long is dead to a gc. */
export const LEASE_DEAD_MS = 24 * 3600_000;
/** How often it is refreshed: many attempts fit before it would be dead. */
export const LEASE_REFRESH_MS = 10 * 60_000;

/** Who did not manage to refresh for this long must not rely on the lease, nor bring it back to life. */
export const LEASE_TRUST_MS = LEASE_DEAD_MS / 2;

const LEASE_KINDS = ["backup", "restore", "copy", "repair", "forget", "gc"] as const;
export type LeaseKind = (typeof LEASE_KINDS)[number];

/** Of work that is about all volumes of a project; no volume can be called so. */
export const ALL_VOLUMES = "*";

export interface LeaseOptions {
  work: LeaseKind;
  /** The volume, or what else the work is about. */
  volume: string;
}

/** What a lease's object holds. */
export interface LeaseContent {
  state: "running" | "ended";
  work: LeaseKind;
  volume: string;
  host: string;
  pid: number;
  /** When the work began, by the store's clock; `null` until it is known. */
  started_ms: number | null;
}

const readContent = record<LeaseContent>({
  state: oneOf("running", "ended"),
  work: oneOf(...LEASE_KINDS),
  volume: field.name,
  host: field.host,
  pid: field.count,
  started_ms: orNull(field.timeMs),
});

/** Of the lease at `key`, as it was sealed. Throws `DamageError` where it is none. */
export function decodeLease(content: Uint8Array, key: string): LeaseContent {
  return decodeDocument(content, { key, read: readContent });
}

const GONE = "its lease has expired: the project was erased, or this host was suspended for too long";

export class Lease {
  readonly id = randomBytes(LEASE_ID_BYTES);
  readonly #project: Project;
  readonly #options: LeaseOptions;
  readonly #context: Context;
  readonly #stop = new AbortController();
  /** By this host's clocks: when the last successful write of the lease began. */
  #fresh: ClockReadings = {};
  /** By the store's clock: when the lease was written, as it was last seen. */
  #storeTimeMs: number | undefined;
  #startedMs: number | null = null;
  #refreshing: Promise<void> = Promise.resolve();
  readonly #gone = new AbortController();
  /** No request of `send` can still be under way. */
  #hasNoPendingRequests = true;

  private constructor(project: Project, options: LeaseOptions, context: Context) {
    this.#project = project;
    this.#options = options;
    this.#context = context;
  }

  /** Writes the lease and keeps it fresh until `end`. */
  static async begin(project: Project, options: LeaseOptions, context: Context): Promise<Lease> {
    const lease = new Lease(project, options, context);
    await lease.#write("running", context);
    lease.#refreshing = lease.#keepFresh();
    return lease;
  }

  /**
   * The context in which the work goes on: its signal also aborts, with `conflict`, once a refresh finds the lease gone.
   * Then nothing of the work will stay, and after an erasure what it went on writing would be left behind.
   */
  guard(context: Context): Context {
    return { ...context, signal: AbortSignal.any([context.signal, this.#gone.signal]) };
  }

  get idHex(): string {
    return toHex(this.id);
  }

  /** When the work began, by the store's clock; `null` before the store was asked for the first time. */
  get startedMs(): number | null {
    return this.#startedMs;
  }

  /**
   * Throws `conflict` where it was not refreshed lately enough to be alive for certain: whoever stood still for too long
   * may be taken for dead, and must stop.
   */
  assertFresh(): void {
    const { ms, by } = elapsedSince(this.#fresh, this.#context.clock);
    if (ms >= LEASE_TRUST_MS) throw this.#lost(`its lease was not refreshed for ${hours(ms)} by ${by}`);
  }

  /**
   * Asks the store for the lease: when it was last written, by the store's clock. Throws `conflict` where it is gone, or
   * too much of the store's time has passed between two looks.
   */
  async storeTimeMs(signal: AbortSignal | undefined): Promise<number> {
    this.assertFresh();
    const nowMs = (await this.#project.find(leaseName(this.id), { signal }))?.modifiedMs;
    this.assertFresh();
    if (nowMs === undefined) throw this.#lost(GONE);
    const passedMs = nowMs - (this.#storeTimeMs ?? nowMs);
    if (passedMs >= LEASE_TRUST_MS) {
      throw this.#lost(`its lease was not refreshed for ${hours(passedMs)} by the store's clock`);
    }
    this.#storeTimeMs = nowMs;
    this.#startedMs ??= nowMs;
    return nowMs;
  }

  /**
   * Before what must not come too late, and after it: a question and a listing must both find the lease, for one answer may
   * be wrong. Throws `conflict`.
   */
  async confirm(signal: AbortSignal | undefined): Promise<void> {
    const [, isListed] = await Promise.all([this.storeTimeMs(signal), this.#isListed(signal)]);
    if (!isListed) throw this.#lost(GONE);
  }

  async #isListed(signal: AbortSignal | undefined): Promise<boolean> {
    const name = leaseName(this.id);
    for await (const info of this.#project.list(name, { signal })) return info.name === name;
    return false;
  }

  /**
   * Makes a request that others rely on not to arrive once the lease has ended: only after the store was asked that the
   * lease is still there, not by who may be taken for dead, and not again either. Where its outcome is not known, or was not of an attempt, that one may still be under way: the
   * lease then stays, and ends by its age. Throws `conflict`, and what the request throws.
   */
  async send<T>(request: (options: RequestOptions) => Promise<T>): Promise<T> {
    const { signal } = this.#context;
    await this.confirm(signal);
    const beforeRetry = async () => {
      this.#hasNoPendingRequests = false;
      await this.confirm(signal);
    };
    try {
      return await request({ beforeRetry });
    } catch (error) {
      const isRefused = error instanceof StoreError && !error.retryable;
      if (!isRefused) this.#hasNoPendingRequests = false;
      throw error;
    }
  }

  /** Removes the lease, also when the work was aborted. What cannot be removed is said and left to its age. */
  async end(): Promise<void> {
    this.#stop.abort();
    await this.#refreshing;
    if (!this.#hasNoPendingRequests) {
      // Nothing for the operator to do: a gc waits a day longer, that is all.
      const lease = toHex(this.id);
      return this.#context.log.info(
        { lease },
        "a request may still be outstanding; the lease is left to expire",
      );
    }
    try {
      await withGrace(this.#context, (signal) => this.#remove(signal));
    } catch (error) {
      this.#warn(error, "could not remove the lease; it is left to expire");
    }
  }

  async #remove(signal: AbortSignal): Promise<void> {
    const [left] = await this.#project.delete([leaseName(this.id)], { signal });
    if (left !== undefined) await this.#write("ended", { signal });
  }

  #lost(why: string): VarveError {
    const { work, volume } = this.#options;
    const { name } = this.#project;
    const thing = volume === name || volume === ALL_VOLUMES ? name : `${name}/${volume}`;
    return new VarveError("conflict", `Cannot finish the ${work} of "${thing}": ${why}; retry`);
  }

  async #write(
    state: "running" | "ended",
    { signal, beforeRetry }: Pick<RequestOptions, "signal" | "beforeRetry">,
  ): Promise<void> {
    const { host, clock } = this.#context;
    const content = encodeDocument(
      { state, ...this.#options, host, pid: process.pid, started_ms: this.#startedMs },
      { key: this.#project.objectKey(leaseName(this.id)), read: readContent },
    );
    const began = readClocks(clock);
    const object = { type: OBJECT_TYPE.lease, name: leaseName(this.id), content };
    await this.#project.write(object, { signal, beforeRetry, keys: this.#project.firstKey });
    this.#fresh = began;
  }

  async #keepFresh(): Promise<void> {
    const signal = AbortSignal.any([this.#stop.signal, this.#gone.signal, this.#context.signal]);
    while (!signal.aborted) {
      try {
        await this.#context.clock.sleep(LEASE_REFRESH_MS, signal);
        await this.#refresh(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof VarveError && error.code === "conflict") return this.#gone.abort(error);
        this.#warn(error, "could not refresh the lease; retrying later");
      }
    }
  }

  /** Only a lease that is there and trusted is written again: one that was declared dead must stay dead. */
  async #refresh(signal: AbortSignal): Promise<void> {
    await this.storeTimeMs(signal);
    await this.#write("running", { signal, beforeRetry: () => this.assertFresh() });
  }

  #warn(error: unknown, text: string): void {
    const reason = error === undefined ? {} : { reason: describeError(error) };
    this.#context.log.warn({ lease: toHex(this.id), ...reason }, text);
  }
}

function hours(ms: number): string {
  return `${Math.floor(ms / 3600_000)} hours`;
}
