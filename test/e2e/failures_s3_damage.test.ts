/** The built program and an S3 store that gives one object wrongly: once, or never at all. */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { RepairReport } from "../../src/engine/verify/repair.ts";
import type { VerifyReport } from "../../src/engine/verify/verify.ts";
import { flipBit } from "../kit/damage.ts";
import { type Call, FaultyS3, s3Failure } from "../kit/faulty_s3.ts";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import type { VarveResult } from "../kit/varve.ts";
import { startProxiedRepository } from "../kit/proxied_repository.ts";

const CHUNKS = 4;
const CONTENT = noise(CHUNKS * CHUNK_BYTES, "one object");

setDefaultTimeout(RUN_LIMIT_MS);

describeWith(["MinIO"], "varve on an S3 store that errs about one object", () => {
  let stop: () => Promise<void>;
  let proxy: FaultyS3;
  let repository: TestRepository;
  /** Of one chunk of the volume. */
  let chunk: string;

  beforeAll(async () => {
    ({ proxy, repository, stop } = await startProxiedRepository());
    await repository.backUp("acme/vm", CONTENT);
    await repository.json(["verify", "acme"]);
    chunk = proxy.calls.findLast(isChunkRead)!.key;
  });
  beforeEach(() => proxy.reset());
  afterAll(() => stop?.());

  const isChunkRead = ({ method, key }: Call) => method === "GET" && key.includes("/chunks/");
  const isChunk = (call: Call) => isChunkRead(call) && call.key === chunk;
  const written = () =>
    proxy.calls.filter(({ method, key }) => method === "PUT" && !key.includes("/leases/"));
  const report = <T>({ stdout, code }: VarveResult, expected: number) => {
    expect(code).toBe(expected);
    return JSON.parse(stdout) as T;
  };

  test.each([
    ["verify", ["verify", "acme", "--json"]],
    ["repair", ["repair", "acme", "--json"]],
  ])("%s finds nothing when the first reading of each object has a flipped bit", async (_, args) => {
    const seen = new Set<string>();
    proxy.faultOf = (call) => {
      if (!isChunkRead(call) || seen.has(call.key)) return undefined;
      seen.add(call.key);
      return (answer) => ({ ...answer, body: flipBit(answer.body as Uint8Array, 8 * 70) });
    };
    expect(report<VerifyReport>(await repository.run(args), 0).findings).toEqual([]);
    expect(seen.size).toBeGreaterThan(CHUNKS);
    expect(written()).toEqual([]);
  });

  test("restore reads a second time what has a flipped bit", async () => {
    const seen = new Set<string>();
    proxy.faultOf = (call) => {
      if (!isChunk(call) || seen.has(call.key)) return undefined;
      seen.add(call.key);
      return (answer) => ({ ...answer, body: flipBit(answer.body as Uint8Array, 8 * 70) });
    };
    await repository.json(["restore", "acme/vm", "--to", repository.path("restored")]);
    expect(readFileSync(repository.path("restored")).equals(CONTENT)).toBe(true);
    expect(seen.size).toBe(1);
  });

  test("an object that is archived is damage at its place, and nowhere else", async () => {
    proxy.faultOf = (call) => isChunk(call) ? s3Failure(403, "InvalidObjectState") : undefined;
    const { findings, chunks_read, points } = report<VerifyReport>(
      await repository.run(["verify", "acme", "--json"]),
      3,
    );
    expect(findings).toMatchObject([{ kind: "unavailable" }]);
    expect(findings[0]!.key).toEndWith(chunk.split("/").at(-1)!);
    expect({ chunks_read, points }).toMatchObject({
      chunks_read: CHUNKS - 1,
      points: [{ damaged_chunks: 1 }],
    });

    const to = repository.path("kept");
    const restored = await repository.run(["restore", "acme/vm", "--to", to, "--keep-going", "--json"]);
    const [range] = report<{ damaged: { offset: number; length: number }[] }>(restored, 3).damaged;
    const expected = Buffer.from(CONTENT);
    expected.fill(0, range!.offset, range!.offset + range!.length);
    expect(readFileSync(to).equals(expected)).toBe(true);

    const second = repository.path("second");
    const at = { env: { VARVE_REPO: second } };
    await repository.json(["init", "--chunk-size", String(CHUNK_BYTES)], at);
    const copied = await repository.run(["copy", "acme", "--to", second, "--json"]);
    expect(report<{ points: object }>(copied, 3).points).toMatchObject({ copied: 0, damaged: 1 });

    const { marked } = report<RepairReport>(await repository.run(["repair", "acme", "--json"]), 3);
    expect(marked).toHaveLength(1);
    await repository.backUp("acme/vm", CONTENT, { snapshot: "s2" });
    expect(proxy.calls.filter(({ method, key }) => method === "PUT" && key === chunk)).toHaveLength(1);
  });
});
