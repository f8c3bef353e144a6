/** Keeps `varve init` from creating a repository inside another one, where erasing a project would delete it. */
import * as path from "node:path";
import { VarveError } from "../errors.ts";
import { PROJECTS_PREFIX, REPOSITORY_KEY } from "../format/layout.ts";
import type { Store } from "../store/store.ts";
import { parentOf } from "./no_repository.ts";

interface Neighbourhood {
  open: (url: string) => Promise<Store>;
  signal: AbortSignal;
}

/** Throws `conflict` if `url` is below the `projects/` of a repository. One that cannot be read counts as none. */
export async function assertNotNested(url: string, neighbourhood: Neighbourhood): Promise<void> {
  for (let inner = url;;) {
    const outer = parentOf(inner);
    if (outer === undefined || outer === inner) return;
    const isInside = `${path.basename(inner)}/` === PROJECTS_PREFIX;
    if (isInside && await isRepository(outer, neighbourhood)) {
      throw new VarveError(
        "conflict",
        `Cannot create a repository in "${url}": it is inside the repository "${outer}"; choose another location`,
      );
    }
    inner = outer;
  }
}

async function isRepository(url: string, { open, signal }: Neighbourhood): Promise<boolean> {
  try {
    const store = await open(url);
    return await store.head(REPOSITORY_KEY, { signal }).finally(() => store.close()) !== undefined;
  } catch {
    return false;
  }
}
