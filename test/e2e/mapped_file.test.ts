/** The built program and a file that another process has mapped: what it writes there must not pass for the backup. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { mappingOf } from "../kit/mapping.ts";

setDefaultTimeout(RUN_LIMIT_MS);

const BYTES = noise(4 * CHUNK_BYTES, "mapped");
let repository: TestRepository;
beforeAll(async () => {
  repository = await TestRepository.make();
});
afterAll(() => repository.remove());

test("restore does not call a file unchanged that was written through a mapping after its backup, or its restore", async () => {
  const file = repository.path("disk.img");
  writeFileSync(file, BYTES);
  const mapping = mappingOf(file);
  try {
    await mapping.write(0, BYTES[0]!); // the page is dirty when the backup begins
    await repository.run(["backup", "acme/vm", "--format", "raw", file]);
    for (const offset of [0, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES]) {
      await mapping.write(offset, BYTES[offset]! ^ 0xff);
      const { way } = await repository.json<{ way: string }>(["restore", "acme/vm", "--to", file]);
      expect(way).toBe("compare");
      expect(readFileSync(file).equals(BYTES)).toBe(true);
    }
    const { way } = await repository.json<{ way: string }>(["restore", "acme/vm", "--to", file]);
    expect(way).toBe("unchanged");
  } finally {
    mapping.end();
  }
});
