/** Piscina's own worker, embedded as an entry point of the compiled file (scripts/build.ts points Piscina here). */
import "../node_modules/piscina/dist/worker.js";
