/** The thread that ends the process when the main thread does not. The work itself is in `src/cli/watchdog.ts`. */
import { workerData } from "node:worker_threads";
import { watch } from "../src/cli/watchdog.ts";

watch(workerData);
