/** The built program and a file that another process has mapped: what it writes there must not pass for the backup. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";

setDefaultTimeout(RUN_LIMIT_MS);

const BYTES = noise(4 * CHUNK_BYTES, "mapped");
let repository: TestRepository;
beforeAll(async () => {
  repository = await TestRepository.make();
});
afterAll(() => repository.remove());

/** A process that holds `path` mapped and writes `byte` to `offset` there. */
function mappingOf(path: string) {
  const program = `const map = Bun.mmap(${JSON.stringify(path)});
    for await (const line of console) {
      const [offset, byte] = line.split(" ").map(Number);
      map[offset] = byte;
      console.log("done");
    }`;
  const child = Bun.spawn([process.execPath, "-e", program], { stdin: "pipe", stdout: "pipe" });
  const reader = child.stdout.getReader();
  const write = async (offset: number, byte: number) => {
    child.stdin.write(`${offset} ${byte}\n`);
    child.stdin.flush();
    await reader.read();
  };
  return { write, end: () => child.kill() };
}

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
