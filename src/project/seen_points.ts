/**
 * The newest point of each volume that this host has seen, so that a store which was put back to an older state, or has lost
 * points, is not taken at its word. docs/operating.md, "What a host keeps".
 */
import { counted } from "../util/counted.ts";
import { VarveError } from "../errors.ts";
import { manifestName, parseManifestName } from "../format/layout.ts";
import { isProjectName, isVolumeName } from "../format/names.ts";
import { pathOf } from "../os/own_path.ts";
import {
  newestNotePath,
  notedProjects,
  notedVolumes,
  projectStateFolder,
  type StatePlace,
} from "../state/state_folder.ts";
import type { Context } from "../context.ts";
import { namesOf } from "./not_found.ts";
import { listProjects } from "./open_project.ts";
import { orderPoints } from "./point_order.ts";
import type { PointRef } from "./point_ref.ts";
import type { Project } from "./project.ts";
import { listKeyIds } from "./key_object.ts";
import type { Repository } from "./repository.ts";
import { readForgotten } from "./forgotten.ts";
import { DoubtfulNote, MISSED_MAX, readSeen, statePlace, writeSeen } from "./seen_note.ts";

/** Volumes of a project that are noted because they were seen. */
const VOLUMES_MAX = 10_000;
/** Points that are said one by one. */
const SAID_MAX = 5;

/** A point as it stands in the store, readable or not. */
export interface PresentPoint extends PointRef {
  isReadable: boolean;
  /** The ids that its manifest passes over, if it was read. */
  passedOver?: readonly string[] | undefined;
}

/** The points of manifests that were read, by their names, with the ids that each passes over. */
export function readablePoints(
  { points, passedOver }: {
    points: ReadonlySet<string>;
    passedOver: ReadonlyMap<string, readonly string[]>;
  },
): PresentPoint[] {
  return [...points].map((name) => {
    return { ...parseManifestName(name)!, isReadable: true, passedOver: passedOver.get(name) };
  });
}

/** What a comparison finds. */
export interface Missed {
  /** Points that this host has seen and that are gone, though no forget took them. */
  points: PointRef[];
  /** Notes of which it cannot be known what this host has seen. They stay until somebody removes them. */
  notes: DoubtfulNote[];
}

/**
 * Compares what there is of a project, or of one volume, with what this host has seen, remembers the newest that can be
 * read, and says what is gone. What a forget took is not missed. A host that cannot keep notes misses nothing.
 */
export async function findMissed(
  project: Project,
  { volume, points }: { volume: string | undefined; points: readonly PresentPoint[] },
  context: Context,
): Promise<Missed> {
  const missed: Missed = { points: [], notes: [] };
  const place = statePlace(project, context);
  if (place === undefined) return missed;
  const there = Map.groupBy(points, (point) => point.volume);
  const volumes = volume === undefined ? await volumesOf(place, there, context) : [volume];
  const look = new Look(project, place, context);
  for (const name of volumes) {
    const found = await look.at(name, there.get(name) ?? []);
    if (found instanceof DoubtfulNote) missed.notes.push(found);
    else missed.points.push(...found);
  }
  sayMissed(project, place, missed, context);
  return missed;
}

/** The volumes that have a note, and others that there are: they may be called like anything, and be any number. */
async function volumesOf(
  place: StatePlace,
  there: ReadonlyMap<string, unknown>,
  { onStateTrouble = () => {} }: Context,
): Promise<string[]> {
  const noted = new Set(await notedVolumes(place, onStateTrouble));
  const others = [...there.keys()].filter((name) => isVolumeName(name) && !noted.has(name));
  return [...noted, ...others.slice(0, Math.max(0, VOLUMES_MAX - noted.size))];
}

/** Remembers a point that this host has made. */
export async function noteOwn(
  project: Project,
  { volume, backup }: PointRef,
  context: Context,
): Promise<void> {
  const place = statePlace(project, context);
  if (place === undefined) return;
  const note = await readSeen(project, { place, volume }, context);
  if (note instanceof DoubtfulNote) return;
  await writeSeen(project, { place, volume, note: { ...note, newest: backup }, isDurable: true }, context);
}

/** From now on these are not missed: this host has forgotten them. */
export async function noteForgotten(
  project: Project,
  points: readonly PointRef[],
  context: Context,
): Promise<void> {
  const place = statePlace(project, context);
  if (place === undefined) return;
  for (const [volume, of] of Map.groupBy(points, (point) => point.volume)) {
    const gone = new Set(of.map(({ backup }) => backup));
    const before = await readSeen(project, { place, volume }, context);
    if (before instanceof DoubtfulNote) continue;
    const { newest, missed } = before;
    const isNewestGone = newest !== null && gone.has(newest);
    if (!isNewestGone && !missed.some((id) => gone.has(id))) continue;
    const note = { newest: isNewestGone ? null : newest, missed: missed.filter((id) => !gone.has(id)) };
    await writeSeen(project, { place, volume, note }, context);
  }
}

/** The projects that there are; those that are gone though this host has seen points of them are said. */
export async function listedProjects(repository: Repository, context: Context): Promise<string[]> {
  const names = await Array.fromAsync(listProjects(repository, context));
  for (const gone of await goneProjects(repository, new Set(names), context)) {
    context.log.error({}, await goneProject(repository, gone, context) ?? "");
  }
  return names;
}

/** The projects that there are, and those that should be. */
export async function expectedProjects(repository: Repository, context: Context): Promise<string[]> {
  const names = await Array.fromAsync(listProjects(repository, context));
  return [...names, ...await goneProjects(repository, new Set(names), context)];
}

/** Those that this host has seen points of, and of which neither of two listings finds a key. */
async function goneProjects(
  repository: Repository,
  there: ReadonlySet<string>,
  context: Context,
): Promise<string[]> {
  const { stateRoot: root, onStateTrouble = () => {} } = context;
  if (root === undefined) return [];
  const gone: string[] = [];
  for (const project of await notedProjects({ root, repositoryId: repository.id }, onStateTrouble)) {
    if (!isProjectName(project) || there.has(project)) continue;
    const isSeen = await goneProject(repository, project, context) !== undefined;
    if (isSeen && (await listKeyIds(repository.store, project, context)).length === 0) gone.push(project);
  }
  return gone;
}

/** What is to be said of a project that cannot be found, if this host has seen points of it; else `undefined`. */
export async function goneProject(
  repository: Repository,
  project: string,
  { stateRoot: root, onStateTrouble = () => {} }: Context,
): Promise<string | undefined> {
  if (root === undefined) return undefined;
  const place = { root, repositoryId: repository.id, project };
  const volumes = await notedVolumes(place, onStateTrouble);
  if (volumes.length === 0) return undefined;
  const seen = namesOf(volumes.map((volume) => `${project}/${volume}`));
  return `project "${project}", of which this host has seen restore points of ${seen}, is missing: it was lost, or ` +
    `erased elsewhere; copy it back from a second repository with "varve copy", or, if it was erased, remove "${
      pathOf(projectStateFolder(place))
    }"`;
}

/** To be thrown on: says it where the error is that a project cannot be found which this host has seen points of. */
export async function sayIfProjectIsGone(
  repository: Repository,
  { project, error }: { project: string; error: unknown },
  context: Context,
): Promise<never> {
  if (error instanceof VarveError && error.code === "not_found") {
    const state = await goneProject(repository, project, context);
    if (state !== undefined) context.log.error({}, state);
  }
  throw error;
}

/** The same for a command that vouches for the project: to that it is damage. */
export async function throwAsGone(
  repository: Repository,
  { project, error }: { project: string; error: unknown },
  context: Context,
): Promise<never> {
  const isMissing = error instanceof VarveError && error.code === "not_found";
  const state = isMissing ? await goneProject(repository, project, context) : undefined;
  if (state === undefined) throw error;
  throw new VarveError("damage", `Cannot verify "${project}": ${state}`);
}

/** Throws `damage` where this host has seen points of the project, which is not there: one of that name would hide the loss. */
export async function assertNotGone(
  repository: Repository,
  project: string,
  context: Context,
): Promise<void> {
  const state = await goneProject(repository, project, context);
  if (state !== undefined) throw new VarveError("damage", `Cannot create project "${project}": ${state}`);
}

/** One comparison; what was forgotten is read when it is needed, once. */
class Look {
  readonly #project: Project;
  readonly #place: StatePlace;
  readonly #context: Context;
  #forgotten: Promise<ReadonlySet<string>> | undefined;

  constructor(project: Project, place: StatePlace, context: Context) {
    this.#project = project;
    this.#place = place;
    this.#context = context;
  }

  async at(volume: string, points: readonly PresentPoint[]): Promise<PointRef[] | DoubtfulNote> {
    const place = this.#place;
    const before = await readSeen(this.#project, { place, volume }, this.#context);
    if (before instanceof DoubtfulNote) return before;
    const listed = new Set(points.map(({ backup }) => backup));
    const readable = new Map<string, readonly string[]>();
    for (const point of points) if (point.isReadable) readable.set(point.backup, point.passedOver ?? []);
    const missed: string[] = [];
    for (const backup of [...before.missed, ...before.newest === null ? [] : [before.newest]]) {
      const state = listed.has(backup) ? "there" : await this.#stateOf({ volume, backup });
      if (state === "lost") missed.push(backup);
      else if (state === "there" && backup === before.newest && !readable.has(backup)) {
        readable.set(backup, []);
      }
    }
    const note = { newest: lastMade(readable), missed: missed.sort().slice(-MISSED_MAX) };
    if (JSON.stringify(note) !== JSON.stringify(before)) {
      await writeSeen(this.#project, { place, volume, note }, this.#context);
    }
    return missed.map((backup) => ({ volume, backup }));
  }

  async #stateOf(point: PointRef): Promise<"there" | "forgotten" | "lost"> {
    const name = manifestName(point.volume, point.backup);
    if (await this.#project.has(name, this.#context)) return "there";
    this.#forgotten ??= readForgotten(this.#project, this.#context);
    const isForgotten = (await this.#forgotten).has(name);
    return isForgotten ? "forgotten" : "lost";
  }
}

/** The id of the point that was made last, of those with the ids that each passes over: a date may be wrong. */
function lastMade(points: ReadonlyMap<string, readonly string[]>): string | null {
  const infos = [...points].map(([backup, passedOver]) => ({ backup, passed_over: [...passedOver] }));
  infos.sort((a, b) => a.backup < b.backup ? -1 : 1);
  return orderPoints(infos).made.at(-1) ?? null;
}

/** A loss is an error, and told with `--quiet`, too; once, however often the run compares. */
function sayMissed(project: Project, place: StatePlace, { points, notes }: Missed, { log }: Context): void {
  const { name } = project;
  const said = linesOf.get(project) ?? new Set();
  linesOf.set(project, said);
  const say = (line: string) => {
    if (!said.has(line)) log.error({}, line);
    said.add(line);
  };
  for (const { volume, backup } of points.slice(0, SAID_MAX)) {
    say(
      `"${name}/${volume}@${backup}", which this host has seen, is missing, but no forget recorded it: ` +
        `it was lost, or the store was reset to an older state; if it was forgotten on purpose, ` +
        `remove "${pathOf(newestNotePath(place, volume))}"`,
    );
  }
  for (const { state } of notes.slice(0, SAID_MAX)) say(state);
  const more = Math.max(0, points.length - SAID_MAX);
  if (more > 0) say(`the same applies to ${counted(more, "more restore point")} of "${name}"`);
  const moreNotes = Math.max(0, notes.length - SAID_MAX);
  if (moreNotes > 0) say(`the same applies to ${counted(moreNotes, "more note")} of "${name}"`);
}

const linesOf = new WeakMap<Project, Set<string>>();
