/** An empty project in memory, reached through hooks: for tests of what a project's small objects do. */
import { openProject } from "../../src/project/open_project.ts";
import type { Project } from "../../src/project/project.ts";
import { Lease } from "../../src/project/sharing/lease.ts";
import { newRepository, newStore, PROJECT, testContext } from "./engine.ts";
import { hooked, type HookedStore, type StoreHooks } from "./hooked_store.ts";

export interface TestProject {
  project: Project;
  store: HookedStore;
}

/** `hooks` step in once the project is open. */
export async function newProject(hooks: StoreHooks = {}): Promise<TestProject> {
  const { store, repository } = hooked(await newRepository(newStore()), hooks);
  const project = await openProject(repository, { name: PROJECT, secrets: [] }, testContext());
  store.calls.length = 0;
  return { project, store };
}

/** A lease of a gc, which a test ends or leaves. */
export async function beginLease(project: Project, work: "gc" | "backup" | "forget" = "gc"): Promise<Lease> {
  return await Lease.begin(project, { work, volume: "*" }, testContext());
}
