import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryStore } from "../../src/store/directory.ts";
import { describeContract } from "./contract.ts";

describeContract("DirectoryStore", async () => {
  const folder = await mkdtemp(join(tmpdir(), "varve-directory-"));
  return {
    store: new DirectoryStore(join(folder, "made/by/put")),
    stop: () => rm(folder, { recursive: true }),
  };
});
