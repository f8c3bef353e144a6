/** A real cluster and a new repository for a test file's images. */
import { afterAll, beforeAll, expect } from "bun:test";
import { startCeph } from "./ceph.ts";
import type { Server } from "./servers.ts";
import { scratchFolder } from "./scratch.ts";
import { Workbench } from "./workbench.ts";

export const BOOT_LIMIT_MS = 120_000;
export const TEST_LIMIT_MS = 120_000;

/** To be called in a `describe`. The repository's `env` has the cluster's settings once the tests run. */
export function clusterRepository(): Workbench {
  const repository = new Workbench(scratchFolder());
  let ceph: Server | undefined;
  beforeAll(async () => {
    ceph = await startCeph();
    repository.env.CEPH_CONF = ceph.env.CEPH_CONF!;
    expect(await repository.run(["init", "acme", "--no-encryption"])).toMatchObject({ code: 0 });
  }, BOOT_LIMIT_MS);
  afterAll(() => ceph?.stop(), BOOT_LIMIT_MS);
  return repository;
}
