/** The pool's handler: what each worker thread runs. The work itself is in `src/volume/pool/tasks.ts`. */
export { runTask as default } from "../src/volume/pool/tasks.ts";
