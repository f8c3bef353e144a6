/** A command as a target (`--exec`): it gets the volume on its standard input, and its end says whether it took it. */
import { VarveError } from "../errors.ts";
import { Consumer, type ProducerOptions } from "../os/child.ts";
import { systemCode } from "../os/fd.ts";
import { StreamTarget } from "./stream.ts";
import type { Target } from "./target.ts";

interface CommandOptions extends ProducerOptions {
  /** Where in the volume its first byte lies. */
  startOffset: number;
}

/**
 * The command is started by the first write: nothing is made by it where nothing can be restored. It is killed unless all was
 * written, before its standard input ends: many a command (`rbd import -`) takes any end for the end of the volume.
 */
export class CommandTarget implements Target {
  readonly name: string;
  readonly empty = false;
  readonly readableBytes = 0;
  readonly gaps = "zeros";
  readonly file = undefined;
  readonly #command: readonly string[];
  readonly #options: CommandOptions;
  #running: { child: Consumer; stream: StreamTarget } | undefined;
  #hasEnded = false;

  constructor(command: readonly string[], options: CommandOptions) {
    this.#command = command;
    this.#options = options;
    this.name = command[0] ?? "";
  }

  /** The command was started and did not get all, through no fault of its own. */
  get isCut(): boolean {
    return this.#running !== undefined && !this.#hasEnded;
  }

  read(): Promise<void> {
    return this.#start().stream.read();
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#attempt((stream) => stream.write(offset, bytes));
  }

  async zero(offset: number, length: number): Promise<void> {
    await this.#attempt((stream) => stream.zero(offset, length));
  }

  /** The end of its input; resolves once the command has ended well. Throws where it has not. */
  async sync(): Promise<void> {
    await this.#attempt((stream) => stream.close());
    await this.#finish();
  }

  dropCache(): Promise<void> {
    return this.read();
  }

  async close(): Promise<void> {
    await this.#running?.child.stop();
    await this.#running?.stream.close();
  }

  #start(): { child: Consumer; stream: StreamTarget } {
    if (this.#running === undefined) {
      const child = new Consumer(this.#command, this.#options);
      const { startOffset, signal } = this.#options;
      this.#running = { child, stream: new StreamTarget(child.fd, { name: this.name, startOffset, signal }) };
    }
    return this.#running;
  }

  /** Where the command is gone, its own end says more than the broken pipe. */
  async #attempt(work: (stream: StreamTarget) => Promise<void>): Promise<void> {
    try {
      await work(this.#start().stream);
    } catch (error) {
      if (!(error instanceof Error) || systemCode(error.cause) !== "EPIPE") throw error;
      await this.#finish();
      throw new VarveError(
        "failed",
        `Cannot restore to "${this.name}": it exited before reading all its input`,
      );
    }
  }

  async #finish(): Promise<void> {
    const { child } = this.#start();
    try {
      await child.finished();
    } finally {
      this.#hasEnded = !this.#options.signal.aborted;
    }
  }
}
