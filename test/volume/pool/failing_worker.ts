/** A worker for tests of the pool: what it does is said by the key id of its hash tasks. */
export default function run(task: { keys: { id: Uint8Array } }): unknown {
  switch (task.keys.id[0]) {
    case 1:
      throw new RangeError("thrown in the worker");
    case 2:
      return process.exit(3);
    default:
      return new Uint8Array(32);
  }
}
