/** A worker for tests of the pool: what it does is said by the id key of its hash tasks. */
export default function run(task: { idKey: Uint8Array }): unknown {
  switch (task.idKey[0]) {
    case 1:
      throw new RangeError("thrown in the worker");
    case 2:
      return process.exit(3);
    default:
      return new Uint8Array(32);
  }
}
