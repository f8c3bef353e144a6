/** Which projects a repository has, and how one is made and opened. */
import type { HolderKind, ProjectKeys, Secret } from "../codec/keys.ts";
import { DamageError, MissingError, VarveError } from "../errors.ts";
import { KEYS_PREFIX, projectPrefix, PROJECTS_PREFIX } from "../format/layout.ts";
import { encryptionNotePath, notedEncryption, noteEncryption } from "../state/encryption_note.ts";
import { pathOf } from "../os/own_path.ts";
import { assertProjectName, isProjectName, quote } from "../format/names.ts";
import type { Context } from "../context.ts";
import { namesOf } from "./not_found.ts";
import { Project } from "./project.ts";
import { listKeys } from "./key_object.ts";
import { createKey, openKeys, openLaterKey } from "./project_keys.ts";
import type { Repository } from "./repository.ts";

export type { Secret } from "../codec/keys.ts";

/**
 * The names of the projects. A folder without an object is none, which MinIO goes on telling while there are delete markers
 * in it. A folder that no project can be called like is said.
 */
export async function* listProjects(repository: Repository, context: Context): AsyncGenerator<string> {
  const { store } = repository;
  for await (const name of store.folders(PROJECTS_PREFIX, { signal: context.signal })) {
    if (!isProjectName(name)) {
      context.log.warn(
        {},
        `the folder ${quote(PROJECTS_PREFIX + name)} is skipped: it is not a valid project name`,
      );
      continue;
    }
    if (await isProject(repository, name, context)) yield name;
  }
}

/** Whether there is a key of the project, or anything else that lost it. */
export async function isProject(repository: Repository, name: string, context: Context): Promise<boolean> {
  return (await listKeys(repository.store, name, context)).length > 0 ||
    await holdsAnything(repository, name, context);
}

async function holdsAnything({ store }: Repository, name: string, { signal }: Context): Promise<boolean> {
  for await (const _ of store.list(projectPrefix(name), { signal })) return true;
  return false;
}

/** The error of a name that no project has: `what`, where, and which projects there are. */
export async function noProject(repository: Repository, what: string, context: Context): Promise<VarveError> {
  const names = await Array.fromAsync(listProjects(repository, context));
  const there = names.length === 0
    ? "the repository has no projects"
    : `the repository has ${namesOf(names)}`;
  return new VarveError("not_found", `${what} in "${repository.store.url}"; ${there}`);
}

export interface OpenOptions {
  name: string;
  secrets: readonly Secret[];
  /** The operator has named this project: that it is not encrypted although there are secrets is worth a line, once. */
  isNamed?: boolean | undefined;
}

/**
 * Opens a project with whatever of the secrets fits. A key that cannot be used is told of, and the project is opened by its
 * others. Throws `wrong_secret` where the secrets do not open it, `not_found` where there is no such project, `DamageError`
 * where none of its keys can be read, or all are gone.
 */
export async function openProject(
  repository: Repository,
  { name, secrets, isNamed = false }: OpenOptions,
  context: Context,
): Promise<Project> {
  assertProjectName(name);
  const stored = await findKeys(repository, name, context);
  if (stored.length === 0) throw await noKey(repository, name, context);
  const opened = await openKeys(repository, { name, secrets, stored }, context);
  const isUnused = opened.encryption === "none" && secrets.length > 0;
  await assertEncryption(repository, { name, encryption: opened.encryption, isUnused, isNamed }, context);
  const mayBeOpen = opened.encryption === "none";
  const findKey = (id: string) => findLater(repository, { name, secrets, id, mayBeOpen }, context);
  return new Project(repository, name, { ...opened, findKey });
}

/** A project that was encrypted stays so: a key that lies open in its place is somebody else's. */
async function assertEncryption(
  repository: Repository,
  { name, encryption, isUnused, isNamed }: {
    name: string;
    encryption: HolderKind;
    /** There are secrets. */
    isUnused: boolean;
    isNamed: boolean;
  },
  context: Context,
): Promise<void> {
  const { stateRoot: root, log, onStateTrouble } = context;
  if (root === undefined) return;
  const place = { root, repositoryId: repository.id, project: name };
  const noted = await notedEncryption(place).catch((error) => onStateTrouble?.(error));
  if (noted === encryption) return;
  if (encryption === "none" && noted !== undefined) {
    const path = pathOf(encryptionNotePath(place));
    throw new DamageError(
      projectPrefix(name) + KEYS_PREFIX,
      `Cannot open project "${name}": this host knows it as encrypted, but its key is not protected; ` +
        `restore the original key, or if the project was created again without encryption, remove "${path}"`,
    );
  }
  if (isUnused) {
    if (!isNamed) return;
    log.warn(
      {},
      `project "${name}" is not encrypted, so the given secret protects nothing: anyone with read access to the store can read it`,
    );
  }
  await remember(repository, { name, encryption }, context);
}

/** What cannot be written is no reason to fail. */
async function remember(
  { id: repositoryId }: Repository,
  { name, encryption }: { name: string; encryption: HolderKind },
  { stateRoot: root, onStateTrouble }: Context,
): Promise<void> {
  if (root === undefined) return;
  const place = { root, repositoryId, project: name };
  await noteEncryption(place, encryption).catch((error) => onStateTrouble?.(error));
}

async function findKeys({ store }: Repository, name: string, context: Context): Promise<string[]> {
  const keys = await listKeys(store, name, context);
  return keys.length > 0 ? keys : await listKeys(store, name, context); // one look is no proof
}

/** Nothing is a project's without its key: that is somebody's loss, or what an erasure that was interrupted has left. */
async function noKey(repository: Repository, name: string, context: Context): Promise<VarveError> {
  if (!await holdsAnything(repository, name, context)) {
    return await noProject(repository, `Cannot open project "${name}": it does not exist`, context);
  }
  return keysGone(`Cannot open project "${name}"`, name);
}

function keysGone(what: string, name: string): DamageError {
  const prefix = projectPrefix(name) + KEYS_PREFIX;
  return new DamageError(
    prefix,
    `${what}: its keys are missing from "${prefix}"; restore them from a copy, ` +
      `or if the project was being erased, rerun "varve erase ${name}"`,
  );
}

/**
 * Makes a project with its key, wrapped for `secret`, or for nobody. Throws `conflict` where there is one of that name,
 * `DamageError` where one has lost its keys.
 */
export async function createProject(
  repository: Repository,
  { name, secret }: { name: string; secret: Secret | undefined },
  context: Context,
): Promise<Project> {
  await assertNoProject(repository, name, context);
  await createKey(repository, { name, secret }, context);
  // Made on purpose: whatever this host knows of an earlier one of that name counts no more.
  await remember(repository, { name, encryption: secret?.kind ?? "none" }, context);
  // Read back: another host may have made it at once, and what is sealed under a key that was cut cannot be read.
  return await openProject(repository, { name, secrets: secret === undefined ? [] : [secret] }, context);
}

/** Throws unless there is nothing of that name: `conflict`, or `DamageError` where its keys are gone. */
export async function assertNoProject(repository: Repository, name: string, context: Context): Promise<void> {
  assertProjectName(name);
  for (let look = 1; look <= 2; look++) { // one look is no proof
    if (!await holdsAnything(repository, name, context)) continue;
    const keys = await findKeys(repository, name, context);
    if (keys.length === 0) throw keysGone(`Cannot create project "${name}"`, name);
    throw new VarveError("conflict", `Cannot create project "${name}": it already exists`);
  }
}

async function findLater(
  repository: Repository,
  options: { name: string; secrets: readonly Secret[]; id: string; mayBeOpen: boolean },
  context: Context,
): Promise<ProjectKeys | undefined> {
  try {
    return await openLaterKey(repository, options, context);
  } catch (error) {
    if (error instanceof MissingError) return undefined;
    throw error;
  }
}
