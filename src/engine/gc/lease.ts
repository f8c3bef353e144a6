/**
 * A lease: the announcement of running work, which a gc waits for. docs/gc.md.
 *
 * It is written before anything else is read, refreshed while the work runs, and removed at the end; where removing is
 * refused, a final state is written into it. Whether it is dead is told by the store's clock alone; whether it can still
 * be trusted, by the time that passed on this host since it was written last, and that is half of what makes it dead.
 */
import type { ProjectKey } from "../../codec/keys.ts";
import { DamageError, describeError, StoreError, VarveError } from "../../errors.ts";
import { fromUtf8, toHex, utf8 } from "../../format/bytes.ts";
import { leaseName } from "../../format/layout.ts";
import { LEASE_ID_BYTES } from "../../format/limits.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import type { RequestOptions } from "../../store/store.ts";
import type { Context } from "../context.ts";
import { withGrace } from "./grace.ts";
import type { Project } from "../project.ts";
import { randomBytes } from "../random.ts";

/** A lease that was not refreshed for this long is dead to a gc. */
export const LEASE_DEAD_MS = 24 * 3600_000;
/** How often it is refreshed: many attempts fit before it would be dead. */
export const LEASE_REFRESH_MS = 10 * 60_000;

/** Who did not manage to refresh for this long must not rely on the lease, nor bring it back to life. */
export const LEASE_TRUST_MS = LEASE_DEAD_MS / 2;

const WORKS = ["backup", "restore", "copy", "repair", "forget", "gc", "sweep"] as const;
export type Work = (typeof WORKS)[number];

/** Of work that is about all volumes of a project; no volume can be called so. */
export const ALL_VOLUMES = "*";

export interface LeaseOptions {
  work: Work;
  /** The volume, or what else the work is about; of a sweep the plan. */
  volume: string;
  host: string;
  key: ProjectKey;
}

/** What a lease's object holds. */
export interface LeaseContent {
  state: "running" | "ended";
  work: Work;
  volume: string;
  host: string;
  pid: number;
  /** When the work began, by the store's clock; `null` until it is known. */
  started_ms: number | null;
}

/** Of the lease at `key`, as it was sealed. Throws `DamageError` where it is none. */
export function decodeLease(content: Uint8Array, key: string): LeaseContent {
  const damaged = (cause?: unknown) =>
    new DamageError(key, `Cannot read "${key}": it is no lease`, { cause });
  let about: Partial<LeaseContent> | null;
  try {
    about = JSON.parse(fromUtf8(content) ?? "");
  } catch (cause) {
    throw damaged(cause);
  }
  const { state, work, volume, host, pid, started_ms } = about ?? {};
  const isLease = (state === "running" || state === "ended") && WORKS.some((known) => known === work) &&
    typeof volume === "string" && typeof host === "string" && typeof pid === "number" &&
    (started_ms === null || typeof started_ms === "number");
  if (!isLease) throw damaged();
  return about as LeaseContent;
}

export class Lease {
  readonly id = randomBytes(LEASE_ID_BYTES);
  readonly #project: Project;
  readonly #options: LeaseOptions;
  readonly #context: Context;
  readonly #stop = new AbortController();
  /** By this host's clock: when the last successful write of the lease began. */
  #freshMs = 0;
  #startedMs: number | null = null;
  #refreshing: Promise<void> = Promise.resolve();
  readonly #gone = new AbortController();
  #isSettled = true;

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

  /** The same for work that goes on without a lease where the store does not let us write one. */
  static async tryBegin(
    project: Project,
    options: LeaseOptions,
    context: Context,
  ): Promise<Lease | undefined> {
    try {
      return await Lease.begin(project, options, context);
    } catch (error) {
      if (!(error instanceof StoreError) || error.retryable) throw error;
      context.log.debug({ err: error }, `${options.work} goes on without a lease, which cannot be written`);
      return undefined;
    }
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

  /** Whether it was refreshed lately enough to be alive for certain. */
  get isTrusted(): boolean {
    return this.#context.clock.now() - this.#freshMs < LEASE_TRUST_MS;
  }

  /** Throws `conflict` where it is not: whoever stood still for too long may be taken for dead, and must stop. */
  checkTrust(): void {
    if (!this.isTrusted) throw this.#lost();
  }

  /** When the store last saw it, by the store's clock; throws `conflict` where the lease is gone. */
  async seenMs(signal: AbortSignal | undefined): Promise<number> {
    const info = this.isTrusted ? await this.#project.store.head(this.#storeKey, { signal }) : undefined;
    if (info !== undefined && this.isTrusted) {
      this.#startedMs ??= info.modifiedMs;
      return info.modifiedMs;
    }
    throw this.#lost();
  }

  /** Whether no request of `send` can still be under way. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /**
   * Makes a request that others rely on not to arrive once the lease has ended: not by who may be taken for dead, and
   * not again either. Where its outcome is not known, or was not of an attempt, that one may still be under way: the
   * lease then stays, and ends by its age. Throws `conflict`, and what the request throws.
   */
  async send<T>(request: (options: RequestOptions) => Promise<T>): Promise<T> {
    this.checkTrust();
    const beforeRetry = () => {
      this.#isSettled = false;
      this.checkTrust();
    };
    try {
      return await request({ beforeRetry });
    } catch (error) {
      const isRefused = error instanceof StoreError && !error.retryable;
      if (!isRefused) this.#isSettled = false;
      throw error;
    }
  }

  /** Removes the lease, also when the work was aborted. What cannot be removed is said and left to its age. */
  async end(): Promise<void> {
    this.#stop.abort();
    await this.#refreshing;
    if (!this.#isSettled) {
      // Nothing for the operator to do: a gc waits a day longer, that is all.
      const lease = toHex(this.id);
      return this.#context.log.info({ lease }, "a request may still be under way; the lease ends by its age");
    }
    try {
      await withGrace(this.#context, (signal) => this.#remove(signal));
    } catch (error) {
      this.#warn(error, "could not remove the lease; it ends by its age");
    }
  }

  async #remove(signal: AbortSignal): Promise<void> {
    const [left] = await this.#project.store.delete([this.#storeKey], { signal });
    if (left !== undefined) await this.#write("ended", { signal });
  }

  #lost(): VarveError {
    return new VarveError(
      "conflict",
      `Cannot finish the ${this.#options.work} of "${this.#project.name}/${this.#options.volume}": its lease is ` +
        `gone, the project was erased or this host stood still for a day; run it again`,
    );
  }

  get #storeKey(): string {
    return this.#project.key(leaseName(this.id));
  }

  async #write(
    state: "running" | "ended",
    { signal, beforeRetry }: Pick<RequestOptions, "signal" | "beforeRetry">,
  ): Promise<void> {
    const { work, volume, host, key } = this.#options;
    const about: LeaseContent = { state, work, volume, host, pid: process.pid, started_ms: this.#startedMs };
    const content = utf8(JSON.stringify(about));
    const beganMs = this.#context.clock.now();
    await this.#project.write({ type: OBJECT_TYPE.lease, name: leaseName(this.id), content }, {
      signal,
      beforeRetry,
      key,
    });
    this.#freshMs = beganMs;
  }

  async #keepFresh(): Promise<void> {
    const signal = AbortSignal.any([this.#stop.signal, this.#gone.signal, this.#context.signal]);
    while (!signal.aborted) {
      try {
        await this.#context.clock.sleep(LEASE_REFRESH_MS, signal);
        await this.#refresh(signal);
      } catch (error) {
        if (!signal.aborted) this.#warn(error, "could not refresh the lease; trying again later");
      }
    }
  }

  /** Only a lease that is there and trusted is written again: one that was declared dead must stay dead. */
  async #refresh(signal: AbortSignal): Promise<void> {
    if (!this.isTrusted) return this.#gone.abort(this.#lost());
    const there = await this.#project.store.head(this.#storeKey, { signal });
    if (there === undefined) this.#gone.abort(this.#lost());
    else if (this.isTrusted) await this.#write("running", { signal, beforeRetry: () => this.checkTrust() });
  }

  #warn(error: unknown, text: string): void {
    const reason = error === undefined ? {} : { reason: describeError(error) };
    this.#context.log.warn({ lease: toHex(this.id), ...reason }, text);
  }
}
