/** `varve init`: makes a repository, and projects in it. Nothing else makes either. */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { NoRepositoryError, UsageError, VarveError } from "../../errors.ts";
import { DEFAULT_CHUNK_BYTES } from "../../format/limits.ts";
import { assertProjectName } from "../../format/names.ts";
import type { Context } from "../../context.ts";
import { namesOf } from "../../project/not_found.ts";
import { openOtherStore, type Session, withSession } from "../context.ts";
import { assertNotNested } from "../outer_repository.ts";
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
  const { createProject } = await import("../../project/open_project.ts");
  const secret = chooseSecret(names, options, session);
  const { repository, isNew } = await openOrMake(names, options, session);
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
  { preferred, context }: Session,
): Secret | undefined {
  const cannot = `Cannot create ${names.length === 1 ? `project "${names[0]}"` : "the projects"}`;
  if (!options.encryption) {
    if (options.passphraseFile === undefined && options.keyFile === undefined) return undefined;
    throw new UsageError(
      `${cannot}: --no-encryption contradicts --passphrase-file and --key-file; give only one of them`,
    );
  }
  const [secret, ...others] = preferred;
  if (names.length === 0) return undefined;
  if (secret === undefined) {
    throw new UsageError(
      `${cannot}: no secret was given; use --passphrase-file, --key-file or --no-encryption`,
    );
  }
  if (others.length > 0) {
    throw new UsageError(`${cannot}: ${preferred.length} secrets were given; give only one`);
  }
  warnOfShort(secret, (line) => context.log.warn({}, line));
  return secret;
}

/** The repository that is there, else a new one. Throws before anything is made where a project cannot be made in it. */
async function openOrMake(
  names: readonly string[],
  options: InitOptions,
  session: Session,
): Promise<{ repository: Repository; isNew: boolean }> {
  const { store, context } = session;
  const { openRepository } = await import("../../project/repository.ts");
  const repository = await openRepository(store, context).catch((error) => {
    if (!(error instanceof NoRepositoryError)) throw error;
  });
  if (repository === undefined) return { repository: await make(names, options, session), isNew: true };
  if (names.length === 0) {
    throw new VarveError("conflict", `Cannot create a repository in "${store.url}": it already has one`);
  }
  const { chunkSize = repository.chunkBytes } = options;
  if (chunkSize !== repository.chunkBytes) {
    const size = formatSize(repository.chunkBytes);
    throw new VarveError(
      "conflict",
      `Cannot change the chunk size of "${store.url}": it is fixed at ${size}; leave out --chunk-size`,
    );
  }
  await assertNone(names, repository, context);
  return { repository, isNew: false };
}

/** A new repository, or one that has lost its `varve.json`. */
async function make(
  names: readonly string[],
  options: InitOptions,
  { store, secrets, context }: Session,
): Promise<Repository> {
  const { chunkSize } = options;
  const open = (url: string) => openOtherStore(url, { options, context, origin: undefined });
  await assertNotNested(store.url, { open, signal: context.signal });
  const { initRepository } = await import("../../project/repository.ts");
  const { findLost, lostProjects } = await import("../../project/lost_repository.ts");
  const { refillReserve } = await import("../../project/reserve.ts");
  const lost = await lostProjects(store, context);
  const there = names.find((name) => lost.includes(name));
  if (there !== undefined) {
    throw new VarveError(
      "conflict",
      `Cannot create project "${there}": it already exists, in a repository that has lost its "varve.json"; ` +
        'recreate that with "varve init" without a project',
    );
  }
  const found = await findLost(store, { projects: lost, secrets, chunkBytes: chunkSize }, context);
  const { id, chunkBytes = DEFAULT_CHUNK_BYTES } = found;
  const repository = await initRepository(store, { id, chunkBytes }, context);
  await refillReserve(store, context);
  if (lost.length > 0) {
    context.log.warn(
      {},
      `the repository had lost its "varve.json" and has a new one` +
        `${id === undefined ? "" : ", with the id that its keys name"}; its projects are there: ${
          namesOf(lost)
        }`,
    );
  }
  return repository;
}

/** Throws `conflict` where a project is there, `damage` where this host has seen points of it that are gone. */
async function assertNone(
  names: readonly string[],
  repository: Repository,
  context: Context,
): Promise<void> {
  const { assertNoProject } = await import("../../project/open_project.ts");
  const { assertNotGone } = await import("../../project/seen_points.ts");
  for (const name of names) {
    try {
      await assertNoProject(repository, name, context);
      await assertNotGone(repository, name, context);
    } catch (error) {
      const others = names.filter((other) => other !== name);
      if (others.length === 0 || !(error instanceof VarveError)) throw error;
      const were = others.length === 1 ? "was" : "were";
      throw new VarveError(error.code, `${error.message}; ${namesOf(others)} ${were} not created either`);
    }
  }
}

function readSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError("Expected a size such as 4M or 4194304.");
  return bytes;
}
