/** `varve init`: makes a repository, and projects in it. Nothing else makes either. */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { NoRepositoryError, UsageError, VarveError } from "../../errors.ts";
import { DEFAULT_CHUNK_BYTES } from "../../format/limits.ts";
import { assertProjectName } from "../../format/names.ts";
import { openOtherStore, type Session, withSession } from "../context.ts";
import { assertNotNested } from "../outer_repository.ts";
import { printJson, reportDone } from "../terminal/output.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "../root.ts";
import { type Secret, warnOfShort } from "../secrets.ts";
import { formatSize, parseSize } from "../terminal/units.ts";

const EXAMPLES = examples(
  [
    "varve init acme --repo s3://backups/ceph --passphrase-file /etc/varve/acme",
    "a repository in a bucket, if there is none, and a project in it",
  ],
  ["varve init beta gamma --key-file /etc/varve/key", "two more projects, each with its own key"],
  ["varve init scratch --no-encryption", "one that everybody can read who can read the store"],
  [
    "varve init --repo /mnt/nas/varve --chunk-size 1M",
    "only a repository, in a directory, with smaller chunks",
  ],
);

interface InitOptions extends GlobalOptions {
  chunkSize?: number | undefined;
  /** `--no-encryption` makes it false. */
  encryption: boolean;
}

export function addInit(program: Root, invocation: Invocation): void {
  program.command("init")
    .description("Make a repository where there is none, and projects in it.")
    .argument("[projects...]", "PROJECT, which gets a key of its own, wrapped for the passphrase or key file")
    .option("--no-encryption", "make the projects without a secret: who can read the store can read them")
    .option(
      "--chunk-size <size>",
      `how volumes are cut, for good (default: ${formatSize(DEFAULT_CHUNK_BYTES)})`,
      readSize,
    )
    .addHelpText("after", EXAMPLES)
    .action(async (projects, _, command) => {
      const options: InitOptions = command.optsWithGlobals();
      projects.forEach(assertProjectName);
      await withSession(
        { options, invocation, interrupted: "there may be a repository now, and some of the projects" },
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
  if (options.quiet) return;
  const { screen } = invocation;
  if (isNew) screen.write(`Made the repository "${store.url}"\n`);
  for (const { name, encryption } of projects) {
    screen.write(`Made the project "${name}", ${ENCRYPTION_TEXT[encryption]}\n`);
  }
}

const ENCRYPTION_TEXT = {
  "none": "not encrypted: who can read the store can read it",
  "passphrase": "encrypted; nobody can read it without the passphrase: keep that elsewhere too",
  "key-file": "encrypted; nobody can read it without the key file: keep that elsewhere too",
};

/** Before anything is made. Throws `UsageError` where it is not clear what the projects are to be opened with. */
function chooseSecret(
  names: readonly string[],
  options: InitOptions,
  { secrets, context }: Session,
): Secret | undefined {
  const cannot = `Cannot make ${names.length === 1 ? `project "${names[0]}"` : "the projects"}`;
  if (!options.encryption) {
    if (options.passphraseFile === undefined && options.keyFile === undefined) return undefined;
    throw new UsageError(`${cannot}: --no-encryption and a secret contradict each other`);
  }
  const [secret, ...others] = secrets;
  if (names.length === 0) return undefined;
  if (secret === undefined) {
    throw new UsageError(
      `${cannot}: it needs a secret: give --passphrase-file or --key-file, or say --no-encryption`,
    );
  }
  if (others.length > 0) {
    throw new UsageError(`${cannot}: ${secrets.length} secrets are given; give the one to make it with`);
  }
  warnOfShort(secret, (line) => context.log.warn({}, line));
  return secret;
}

/** The repository that is there, where projects are to be made in it; else a new one. */
async function openOrMake(
  names: readonly string[],
  options: InitOptions,
  { store, secrets, context }: Session,
): Promise<{ repository: Repository; isNew: boolean }> {
  const { chunkSize } = options;
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
        `Cannot change the chunk size of "${store.url}": it is ${size}, for good`,
      );
    }
  }
  const open = (url: string) => openOtherStore(url, { options, context });
  await assertNotNested(store.url, { open, signal: context.signal });
  const { findChunkBytes } = await import("../../project/lost_repository.ts");
  const { refillReserve } = await import("../../project/reserve.ts");
  const chunkBytes = chunkSize ?? await findChunkBytes(store, secrets, context) ?? DEFAULT_CHUNK_BYTES;
  const repository = await initRepository(store, { chunkBytes }, context);
  await refillReserve(store, context);
  return { repository, isNew: true };
}

function readSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError("Expected a size like 4M or 4194304.");
  return bytes;
}
