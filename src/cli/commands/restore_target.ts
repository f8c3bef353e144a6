/** Where `varve restore` writes: the file, device, stream or command that the command line names. */
import type { TargetRequest } from "../../engine/restore/restore.ts";
import { describeError, InterruptedError, UsageError, VarveError } from "../../errors.ts";
import { snapshotFromJson } from "../../format/snapshot_name.ts";
import { imageText, isRbdSpec, parseRbdSpec } from "../../rbd/spec.ts";
import type { CommandTarget } from "../../targets/command.ts";
import type { DiffOptions } from "../../targets/rbd_diff.ts";
import { assertOutside } from "../../targets/outside.ts";
import type { Target } from "../../targets/target.ts";
import type { Invocation } from "../root.ts";

export type Destination = { path: string } | { command: readonly string[] };

export interface TargetOptions {
  to?: string | undefined;
  exec?: true | undefined;
  format: "raw" | "rbd-diff";
  from?: string | undefined;
  head?: true | undefined;
  offset?: number | undefined;
  length?: number | undefined;
  dryRun?: true | undefined;
  resize?: true | undefined;
  force?: true | undefined;
}

/** `words` is what follows the point. Throws `UsageError` where that is not one destination. */
export function readDestination({ to, exec, resize }: TargetOptions, words: readonly string[]): Destination {
  const refused = (state: string) => new UsageError(`Cannot restore: ${state}`);
  if (exec !== true && words.length > 0) {
    throw refused(`the argument "${words[0]}" is not expected; a command needs --exec`);
  }
  if ((to === undefined) === (exec === undefined)) {
    throw refused("the target is missing; give either --to or --exec");
  }
  if (to !== undefined && isRbdSpec(to)) {
    const image = imageText(parseRbdSpec(to));
    throw new UsageError(
      `Cannot restore to "${to}": --to takes a file or a device; create an image with --exec -- rbd import - ${image}`,
    );
  }
  if (to === "-" && resize === true) throw refused("--resize is for a file, not for standard output");
  if (to !== undefined) return { path: to };
  if (words.length === 0) throw refused("--exec needs a command after --");
  return { command: words };
}

export function isPiped(destination: Destination): boolean {
  return "path" in destination && destination.path === "-";
}

export function nameOf(destination: Destination): string {
  if ("command" in destination) return destination.command[0] ?? "";
  return destination.path === "-" ? "standard output" : destination.path;
}

export class NamedTarget {
  readonly #destination: Destination;
  readonly #options: TargetOptions;
  readonly #invocation: Invocation;
  readonly #repositoryUrl: string;
  #command: CommandTarget | undefined;

  /** `repositoryUrl`: of the repository that is restored from, which is no place for a target. */
  constructor(
    destination: Destination,
    { options, invocation, repositoryUrl }: {
      options: TargetOptions;
      invocation: Invocation;
      repositoryUrl: string;
    },
  ) {
    this.#destination = destination;
    this.#repositoryUrl = repositoryUrl;
    this.#options = options;
    this.#invocation = invocation;
  }

  /** Throws what the openers of targets throw. */
  async open(wanted: TargetRequest): Promise<Target> {
    if ("command" in this.#destination) return await this.#openCommand(this.#destination.command, wanted);
    const { path } = this.#destination;
    if (path !== "-") assertOutside(path, this.#repositoryUrl);
    const { signal } = this.#invocation;
    const { format, dryRun = false, resize, force = false } = this.#options;
    if (format === "rbd-diff") {
      const { openRbdDiffTarget } = await import("../../targets/rbd_diff.ts");
      return await openRbdDiffTarget(path, { ...this.#diffOptions(wanted), dryRun, force, signal });
    }
    const { openTarget } = await import("../../targets/open.ts");
    const options = {
      sizeBytes: wanted.end,
      partFrom: this.#partFrom,
      readOnly: dryRun,
      resize,
      force,
      signal,
    };
    return await openTarget(path, options);
  }

  /** The error of a restore, with what an end in the middle has left. */
  explain(error: unknown): unknown {
    if (this.#command?.isCut !== true) return error;
    const state =
      `"${this.#command.name}" was killed before it had read everything; remove or roll back its output`;
    if (error instanceof InterruptedError) return new InterruptedError(`Interrupted: ${state}`);
    const code = error instanceof VarveError ? error.code : "failed";
    return new VarveError(code, `${describeError(error)}; ${state}`, { cause: error });
  }

  async #openCommand(command: readonly string[], wanted: TargetRequest): Promise<Target> {
    const { CommandTarget } = await import("../../targets/command.ts");
    const { RbdDiffTarget } = await import("../../targets/rbd_diff.ts");
    const { signal, screen } = this.#invocation;
    const isDiff = this.#options.format === "rbd-diff";
    const startOffset = isDiff ? 0 : this.#partFrom ?? 0;
    this.#command = new CommandTarget(command, { startOffset, signal, stderr: screen });
    return isDiff ? new RbdDiffTarget(this.#command, this.#diffOptions(wanted)) : this.#command;
  }

  #diffOptions({ info, base }: TargetRequest): DiffOptions {
    const { from, head } = this.#options;
    const fromSnapshot = base === undefined ? undefined : snapshotFromJson(base.to_snapshot);
    if (base !== undefined && fromSnapshot === undefined) {
      throw new UsageError(`Cannot restore from "${from}": that restore point has no snapshot`);
    }
    const toSnapshot = head === true ? undefined : snapshotFromJson(info.to_snapshot);
    return { sizeBytes: info.size_bytes, fromSnapshot, toSnapshot };
  }

  /** Where the part begins that is restored, if it is one. */
  get #partFrom(): number | undefined {
    const { offset, length } = this.#options;
    return offset === undefined && length === undefined ? undefined : offset ?? 0;
  }
}
