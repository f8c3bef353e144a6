/**
 * Reads an image's snapshot anywhere. Ceph's tools print whole snapshots or differences, and no part of one; a child in the
 * system's Python does, by Ceph's own bindings of librbd. So clones, stripes and data pools are read as `rbd` reads them,
 * and what goes wrong in a large library ends that child alone.
 */
import { describeError, VarveError } from "../errors.ts";
import { Producer } from "../os/child.ts";
import { type Input, producerInput } from "../os/input.ts";

/** The bindings are packaged for the system's Python, which need not be the first in PATH; `ceph` itself is a program of it. */
const PYTHON = "/usr/bin/python3";

/**
 * Prints a dot once the snapshot is open, and then the bytes that each line `OFFSET LENGTH` asks for. Python 3.6 or later. The
 * bindings take the settings of CEPH_ARGS; who asks which cluster has to be known before.
 */
const SCRIPT = `
import argparse, os, sys
try:
    import rados, rbd
except ImportError as error:
    sys.exit("%s; the modules are in the packages python3-rados and python3-rbd" % error)
pool, namespace, image_id, snapshot_id = sys.argv[1:]
words = argparse.ArgumentParser(add_help=False)
words.add_argument("--id", "--user")
words.add_argument("--name", "-n")
words.add_argument("--cluster")
words.add_argument("--conf", "-c")
known, _ = words.parse_known_args(os.environ.get("CEPH_ARGS", "").split())
name = known.name or (known.id and "client." + known.id)
out = sys.stdout.buffer
try:
    cluster = rados.Rados(name=name, clustername=known.cluster)
    try:
        cluster.conf_read_file(known.conf)
    except rados.ObjectNotFound:
        pass
    cluster.conf_parse_env()
    with cluster, cluster.open_ioctx(pool) as ioctx:
        ioctx.set_namespace(namespace)
        with rbd.Image(ioctx, image_id=image_id, read_only=True) as image:
            image.set_snap_by_id(int(snapshot_id))
            out.write(b".")
            out.flush()
            for line in sys.stdin:
                offset, length = map(int, line.split())
                data = image.read(offset, length)
                if len(data) < length:
                    sys.exit("it has only %d bytes" % image.size())
                out.write(data)
                out.flush()
except Exception as error:
    sys.exit(str(error))
`;

export interface RbdReaderOptions {
  pool: string;
  namespace: string | undefined;
  /** As Ceph calls them: names may be given to others. */
  imageId: string;
  snapshotId: number;
  /** For messages. */
  name: string;
  signal: AbortSignal;
}

export class RbdReader {
  readonly #name: string;
  readonly #producer: Producer;
  readonly #input: Input;

  private constructor({ name, signal, ...options }: RbdReaderOptions) {
    const { pool, namespace = "", imageId, snapshotId } = options;
    this.#name = name;
    const command = [PYTHON, "-I", "-c", SCRIPT, pool, namespace, imageId, String(snapshotId)];
    this.#producer = new Producer(command, { signal, stderr: { write: () => {} }, isAsked: true });
    this.#input = producerInput(this.#producer, { name, signal, atEnd: () => this.#ended(signal) });
  }

  /** Throws `failed` where the snapshot cannot be opened. */
  static async open(options: RbdReaderOptions): Promise<RbdReader> {
    const reader = new RbdReader(options);
    try {
      await reader.#fill(new Uint8Array(1));
      return reader;
    } catch (error) {
      await reader.close();
      throw error;
    }
  }

  /** Fills `into`, which may be shared memory, with the snapshot's bytes from `offset` on. One read at a time. */
  async readAt(into: Uint8Array, offset: number): Promise<void> {
    this.#producer.ask(`${offset} ${into.length}`);
    await this.#fill(into);
  }

  /** Safe at any time and twice. */
  close(): Promise<void> {
    return this.#input.close();
  }

  async #fill(into: Uint8Array): Promise<void> {
    if (await this.#input.reader.fill(into) < into.length) {
      throw this.#error("the process that reads it has ended");
    }
  }

  /** The child ends only when it is told to, or cannot read. */
  async #ended(signal: AbortSignal): Promise<void> {
    await this.#producer.finished().catch((cause) => {
      signal.throwIfAborted();
      throw this.#error(describeError(cause), cause);
    });
  }

  #error(state: string, cause?: unknown): VarveError {
    return new VarveError("failed", `Cannot read "${this.#name}" to compare with it: ${state}`, { cause });
  }
}
