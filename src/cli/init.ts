/** `varve init`: makes a repository. */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import { DEFAULT_CHUNK_BYTES } from "../format/limits.ts";
import { withSession } from "./context.ts";
import { printJson, reportDone } from "./output.ts";
import { examples, type Invocation, type Root } from "./root.ts";
import { formatSize, parseSize } from "./units.ts";

export function addInit(program: Root, invocation: Invocation): void {
  program.command("init")
    .description("Make a repository where there is none, and projects in it.")
    .argument("[projects...]", "PROJECT, each with a key of its own")
    .option("--no-encryption", "make the projects without a secret: who can read the store can read them")
    .option(
      "--chunk-size <size>",
      `how volumes are cut, for good (default: ${formatSize(DEFAULT_CHUNK_BYTES)})`,
      readSize,
    )
    .addHelpText(
      "after",
      examples(
        ["varve init --repo s3://backups/ceph", "in a bucket"],
        ["varve init --repo /mnt/nas/varve --chunk-size 1M", "in a directory, with smaller chunks"],
      ),
    )
    .action(async (projects, _, command) => {
      const options = command.optsWithGlobals();
      await withSession(
        { options, invocation, interrupted: "there may be a repository now" },
        async ({ store, context, secret }) => {
          const { initRepository, openRepository } = await import("../engine/repository.ts");
          const chunkBytes = options.chunkSize ?? DEFAULT_CHUNK_BYTES;
          const { refillReserve } = await import("../engine/reserve.ts");
          const { id } = await initRepository(store, { chunkBytes }, context);
          await refillReserve(store, context);
          if (store.caveat !== undefined) context.log.warn({}, store.caveat);
          const { createProject } = await import("../engine/project.ts");
          const repository = await openRepository(store, context);
          for (const name of projects) {
            await createProject(
              repository,
              { name, secret: options.encryption ? secret : { kind: "none" } },
              context,
            );
          }
          const made = { repository: id, url: store.url, chunk_size_bytes: chunkBytes };
          if (options.json) reportDone(invocation.screen, () => printJson(made));
          else if (!options.quiet) invocation.screen.write(`Made the repository "${store.url}"\n`);
        },
      );
    });
}

function readSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError("Expected a size like 4M or 4194304.");
  return bytes;
}
