/**
 * Builds the one executable file: `bun scripts/build.ts [--target bun-linux-arm64] [--outfile dist/varve]`.
 *
 * Piscina looks for its worker and zstd-napi for its addon in files beside their own; neither exists in a compiled file.
 * The plugin points Piscina at the embedded entry point, and has the addon embedded as a file, which Bun would otherwise
 * unpack to the temporary folder under a name that can be guessed: `src/os/addon.ts` loads it. An addon cannot be
 * cross-compiled: other targets are built without it and use Bun's own zstd.
 *
 * Bun's runtime runs any JavaScript that some variables of the environment name, and has no option to leave that out. Their
 * names are made unusable in the file, so that an environment that sudo or cron hands on runs nothing.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

const ROOT = new URL("..", import.meta.url).pathname;
const EMBEDDED = "/$bunfs/root/workers";
const PISCINA_WORKER = "(0, node_path_1.resolve)(__dirname, 'worker.js')";
const ADDON = `${ROOT}node_modules/zstd-napi/build/Release/binding.node`;
/** To be the `bun` command, to take options such as `--preload`, and to open a debugger. */
const UNWANTED_VARIABLES = [
  ...["BUN_BE_BUN", "BUN_OPTIONS"],
  ...["BUN_INSPECT", "BUN_INSPECT_CONNECT_TO", "BUN_INSPECT_PRELOAD"],
];

const { values } = parseArgs({ options: { target: { type: "string" }, outfile: { type: "string" } } });
const native = values.target === undefined;
const version = JSON.parse(await Bun.file(`${ROOT}package.json`).text()).version as string;
const outfile = values.outfile ?? `${ROOT}dist/varve`;
const addon = native && existsSync(ADDON);
if (native && !addon) console.error("build: zstd-napi has no addon here, the file will use Bun's own zstd");

const result = await Bun.build({
  entrypoints: [
    `${ROOT}src/main.ts`,
    ...["chunk_worker", "pool_worker", "watchdog_worker"].map((name) => `${ROOT}workers/${name}.ts`),
  ],
  root: ROOT,
  compile: {
    outfile,
    ...(native ? {} : { target: values.target as Bun.Build.CompileTarget }),
    autoloadDotenv: false,
    autoloadBunfig: false,
  },
  minify: true,
  bytecode: true,
  format: "esm",
  define: {
    VARVE_CHUNK_WORKER: JSON.stringify(`${EMBEDDED}/chunk_worker.js`),
    VARVE_WATCHDOG_WORKER: JSON.stringify(`${EMBEDDED}/watchdog_worker.js`),
    VARVE_VERSION: JSON.stringify(version),
  },
  plugins: [{
    name: "embed",
    setup(build) {
      build.onLoad({ filter: /piscina\/dist\/index\.js$/ }, async ({ path }) => ({
        loader: "js",
        contents: replaced(
          await Bun.file(path).text(),
          PISCINA_WORKER,
          JSON.stringify(`${EMBEDDED}/pool_worker.js`),
        ),
      }));
      build.onLoad({ filter: /zstd-napi\/binding\.js$/ }, () => ({
        loader: "js",
        contents: addon
          ? `const { loadAddon } = require("${ROOT}src/os/addon.ts");
             module.exports = loadAddon(require("./build/Release/binding.node"));`
          : "module.exports = {};",
      }));
      build.onLoad({ filter: /zstd-napi\/build\/Release\/binding\.node$/ }, async ({ path }) => ({
        loader: "file",
        contents: await Bun.file(path).bytes(),
      }));
    },
  }],
});
for (const log of result.logs) console.error(log);
if (!result.success) process.exit(1);
forgetVariables(outfile);

function replaced(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) {
    throw new Error("Cannot build: Piscina starts its worker in another way than known");
  }
  return text.replace(from, () => to);
}

/** Makes each name, which getenv(3) is given as a string of C, an empty one: no variable has that. */
function forgetVariables(path: string): void {
  const program = readFileSync(path);
  for (const name of UNWANTED_VARIABLES) {
    const at = program.indexOf(`\0${name}\0`);
    if (at < 0 || program.indexOf(`\0${name}\0`, at + 1) >= 0) {
      throw new Error(`Cannot build: the runtime holds ${name} in another way than known`);
    }
    program[at + 1] = 0;
  }
  writeFileSync(path, program);
}
