/** `varve init`: makes a repository, and projects in it. Nothing else makes either. */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { NoRepositoryError, UsageError, VarveError } from "../../errors.ts";
import { DEFAULT_CHUNK_BYTES } from "../../format/limits.ts";
import { assertProjectName } from "../../format/names.ts";
import { type Session, withSession } from "../context.ts";
import { printJson, printStatus, reportDone } from "../terminal/output.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "../root.ts";
import { type Secret, warnOfShort } from "../secrets.ts";
import { formatSize, parseSize } from "../terminal/units.ts";

const EXAMPLES = examples(
  [
    "varve init acme --repo s3://backups/ceph --passphrase-file /etc/varve/acme",
    "create a project, and its repository in a bucket if there is none",
  ],
  ["varve init beta gamma --key-file /etc/varve/key", "create two more projects, each with its own key"],
  ["varve init scratch --no-encryption", "create a project without encryption"],
  [
    "varve init --repo /mnt/nas/varve --chunk-size 1M",
    "create only a repository, in a directory, with smaller chunks",
  ],
);

interface InitOptions extends GlobalOptions {
  chunkSize?: number | undefined;
  /** `--no-encryption` makes it false. */
  encryption: boolean;
}

export function addInit(program: Root, invocation: Invocation): void {
  program.command("init")
    .description("Create a repository, and projects in it.")
    .argument(
      "[projects...]",
      "PROJECT names; each project gets its own key, protected by the passphrase or key file",
    )
    .option("--no-encryption", "do not encrypt: anyone with read access to the store can read the projects")
    .option(
      "--chunk-size <size>",
      `chunk size of the repository; it cannot be changed later (default: ${
        formatSize(DEFAULT_CHUNK_BYTES)
      })`,
      readSize,
    )
    .addHelpText("after", EXAMPLES)
    .action(async (projects, _, command) => {
      const options: InitOptions = command.optsWithGlobals();
      projects.forEach(assertProjectName);
      await withSession(
        { options, invocation, interrupted: "the repository and some of the projects may have been created" },
        (session) => run([...new Set(projects)], { options, session, invocation }),
      );
    });
}

interface Run {
  options: InitOptions;
  session: Session;
  invocation: Invocation;
}

async function run(names: readonly string[], { options, session, invocation }: Run): Promise<void> {
  const { store, context } = session;
  const { createProject, assertNoProject } = await import("../../project/open_project.ts");
  const secret = chooseSecret(names, options, session);
  const { repository, isNew } = await openOrMake(names, options, session);
  for (const name of names) await assertNoProject(repository, name, context);
  const projects: Project[] = [];
  for (const name of names) projects.push(await createProject(repository, { name, secret }, context));
  if (store.caveat !== undefined) context.log.warn({}, store.caveat);
  const { id, chunkBytes } = repository;
  if (options.json) {
    const made = projects.map(({ name, encryption }) => ({ project: name, encryption }));
    const report = { repository: id, url: store.url, chunk_size_bytes: chunkBytes, projects: made };
    return reportDone(invocation.screen, () => printJson(report));
  }
  const lines = [
    ...isNew ? [`Created the repository "${store.url}"\n`] : [],
    ...projects.map(({ name, encryption }) =>
      `Created the project "${name}", ${ENCRYPTION_TEXT[encryption]}\n`
    ),
  ];
  printStatus(lines.join(""), { screen: invocation.screen, options });
}

const ENCRYPTION_TEXT = {
  "none": "not encrypted: anyone with read access to the store can read it",
  "passphrase": "encrypted; without the passphrase it cannot be read, so keep a copy elsewhere",
  "key-file": "encrypted; without the key file it cannot be read, so keep a copy elsewhere",
};

/** Before anything is made. Throws `UsageError` where it is not clear what the projects are to be opened with. */
function chooseSecret(
  names: readonly string[],
  options: InitOptions,
  { secrets, context }: Session,
): Secret | undefined {
  const cannot = `Cannot create ${names.length === 1 ? `project "${names[0]}"` : "the projects"}`;
  if (!options.encryption) {
    if (options.passphraseFile === undefined && options.keyFile === undefined) return undefined;
    throw new UsageError(
      `${cannot}: --no-encryption contradicts --passphrase-file and --key-file; give only one of them`,
    );
  }
  const [secret, ...others] = secrets;
  if (names.length === 0) return undefined;
  if (secret === undefined) {
    throw new UsageError(
      `${cannot}: no secret was given; use --passphrase-file, --key-file or --no-encryption`,
    );
  }
  if (others.length > 0) {
    throw new UsageError(`${cannot}: ${secrets.length} secrets were given; give only one`);
  }
  warnOfShort(secret, (line) => context.log.warn({}, line));
  return secret;
}

/** The repository that is there, where projects are to be made in it; else a new one. */
async function openOrMake(
  names: readonly string[],
  { chunkSize }: InitOptions,
  { store, secrets, context }: Session,
): Promise<{ repository: Repository; isNew: boolean }> {
  const { initRepository, openRepository } = await import("../../project/repository.ts");
  if (names.length > 0) {
    const repository = await openRepository(store, context).catch((error) => {
      if (!(error instanceof NoRepositoryError)) throw error;
    });
    if (repository !== undefined) {
      if (chunkSize === undefined || chunkSize === repository.chunkBytes) return { repository, isNew: false };
      const size = formatSize(repository.chunkBytes);
      throw new VarveError(
        "conflict",
        `Cannot change the chunk size of "${store.url}": it is fixed at ${size}; leave out --chunk-size`,
      );
    }
  }
  const { findChunkBytes } = await import("../../project/lost_repository.ts");
  const { refillReserve } = await import("../../project/reserve.ts");
  const chunkBytes = chunkSize ?? await findChunkBytes(store, secrets, context) ?? DEFAULT_CHUNK_BYTES;
  const repository = await initRepository(store, { chunkBytes }, context);
  await refillReserve(store, context);
  return { repository, isNew: true };
}

function readSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError("Expected a size such as 4M or 4194304.");
  return bytes;
}
