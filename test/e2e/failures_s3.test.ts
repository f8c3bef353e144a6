/** The built program and an S3 store that fails: MinIO behind a proxy that refuses, hangs, cuts and goes away. */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { readFile } from "node:fs/promises";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { type Call, type Fault, FaultyS3 } from "../kit/faulty_s3.ts";
import { withoutLog } from "../kit/log.ts";

import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import type { VarveResult } from "../kit/varve.ts";
import { sha256 } from "../kit/chains.ts";
import { fullStream } from "../kit/rbd_stream.ts";
import { startProxiedRepository } from "../kit/proxied_repository.ts";

const CHUNKS = 10;
const SIZE_BYTES = CHUNKS * CHUNK_BYTES;
const FIRST = noise(SIZE_BYTES, "first");
/** The shortest limits that there are. */
const IMPATIENT = { VARVE_RETRY_FOR: "1s", VARVE_S3_TIMEOUT: "1" };

setDefaultTimeout(RUN_LIMIT_MS);

describeWith(["MinIO"], "varve on a failing S3 store", () => {
  let stop: () => Promise<void>;
  let proxy: FaultyS3;
  let repository: TestRepository;
  let volumes = 0;
  let volume: string;

  beforeAll(async () => {
    ({ proxy, repository, stop } = await startProxiedRepository());
    await repository.backUp("acme/first", FIRST);
  });
  /** Each test has a volume with content of its own. */
  beforeEach(() => {
    proxy.reset();
    volume = `acme/volume-${++volumes}`;
  });
  afterAll(() => stop?.());

  const content = () => noise(SIZE_BYTES, volume);
  const backUp = (env: Record<string, string> = {}) =>
    repository.run(["backup", volume, "--json"], { stdin: fullStream(content()), env });
  const committed = async ({ stdout }: VarveResult) => {
    const report = JSON.parse(stdout) as BackupReport;
    repository.expectPoint(volume, report.backup, content());
    await repository.expectNothingNew();
    return report;
  };
  /** The chunks that the run has uploaded for good: the server answered. */
  const isChunkWrite = ({ method, key }: Call) => method === "PUT" && key.includes("/chunks/");
  /** Lets `good` chunk writes pass; `fault` is the fate of those after. */
  const failAfter = (good: number, fault: Fault) => {
    const passed = new Set<string>();
    proxy.faultOf = (call) => {
      if (!isChunkWrite(call)) return undefined;
      if (passed.size < good) passed.add(call.key);
      return passed.has(call.key) ? undefined : fault;
    };
  };

  test("backup succeeds without a line when the store answers 503 for a moment", async () => {
    let left = 4;
    proxy.faultOf = (call) => isChunkWrite(call) && left-- > 0 ? 503 : undefined;
    const result = await backUp();
    expect(result.code).toBe(0);
    expect(result.stderr).toBe("");
    expect(left).toBeLessThan(0);
    await committed(result);
  });

  test("backup exits with 1 and the next uploads only what is missing when the store answers 500", async () => {
    failAfter(4, 500);
    const failed = await backUp(IMPATIENT);
    expectLastLine(failed, /^varve: Cannot write "s3:.*": "127\.0\.0\.1:\d+" answered \(500/);
    await repository.expectNothingNew();

    proxy.reset();
    const { chunks } = await committed(await backUp());
    expect({ reused: chunks.reused, new: chunks.new }).toEqual({ reused: 4, new: CHUNKS - 4 });
    expect(proxy.calls.filter(isChunkWrite)).toHaveLength(CHUNKS - 4 + 1); // and the page
  });

  test("backup exits with 1 at once when the store answers 403", async () => {
    failAfter(2, 403);
    expectOneLine(await backUp(), { code: 1, line: /Cannot write "s3:.*chunks.*": access denied \(403\)/ });
    await repository.expectNothingNew();
  });

  test("backup exits with 1 and commits nothing when the manifest cannot be written", async () => {
    proxy.faultOf = ({ method, key }) => method === "PUT" && key.includes("/volumes/") ? 500 : undefined;
    const failed = await backUp(IMPATIENT);
    const line =
      /^varve: Cannot store "\S+": the store does not have it; .*: Cannot write "s3:.*\/volumes\/.*answered \(500/;
    expectLastLine(failed, line);
    await repository.expectNothingNew();
    proxy.reset();
    const { chunks } = await committed(await backUp());
    expect(chunks.new).toBe(0);
  });

  test("backup makes one point when the answer to the manifest's write is lost", async () => {
    let left = 1;
    proxy.faultOf = ({ method, key }) =>
      method === "PUT" && key.includes("/volumes/") && left-- > 0 ? "lost" : undefined;
    const result = await backUp();
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code: 0, stderr: "" });
    await committed(result);
  });

  test("backup is done when the answer to each write of the manifest is lost", async () => {
    proxy.faultOf = ({ method, key }) => method === "PUT" && key.includes("/volumes/") ? "lost" : undefined;
    const result = await backUp(IMPATIENT);
    expect(result.code).toBe(0);
    await committed(result);
  });

  test("backup exits with 1 when the store hangs", async () => {
    failAfter(3, "hang");
    const failed = await backUp(IMPATIENT);
    const line =
      /^varve: Cannot write "s3:.*": "127\S+" made no progress for 1 s \(\d+ attempts in \d+ s\)\n$/;
    expectLastLine(failed, line);
    await repository.expectNothingNew();
  });

  test("backup succeeds when the store cuts connections", async () => {
    let cuts = 0;
    proxy.faultOf = (call) => isChunkWrite(call) && call.index % 3 === 0 && cuts++ < 6 ? "cut" : undefined;
    const result = await backUp();
    expect(result.code).toBe(0);
    expect(cuts).toBeGreaterThan(0);
    expect(result.stderr).toBe("");
    await committed(result);
  });

  test("backup goes on when the store goes away and comes back", async () => {
    let gone = false;
    proxy.faultOf = (call) => {
      if (!isChunkWrite(call) || gone) return undefined;
      gone = true;
      proxy.goAway();
      return "cut";
    };
    const child = repository.start(["backup", volume, "--json"], { stdin: fullStream(content()) });
    let stderr = "";
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      stderr += text;
      if (gone && stderr.includes("does not answer (connection refused)")) {
        gone = false; // once
        await proxy.comeBack();
        proxy.reset();
      }
    }
    const result = { code: await child.exited, stdout: await new Response(child.stdout).text(), stderr };
    expect({ code: result.code, isBack: /is back after \d+ s/.test(stderr) }).toEqual({
      code: 0,
      isBack: true,
    });
    await committed(result);
  });

  test("backup exits with 1 when the store goes away and stays away", async () => {
    proxy.faultOf = (call) => {
      if (isChunkWrite(call)) proxy.goAway();
      return undefined;
    };
    const failed = await backUp(IMPATIENT);
    await proxy.comeBack();
    expectLastLine(
      failed,
      /^varve: Cannot \S+ .*no connection to "127\.0\.0\.1:\d+" \(ECONN\w+\); no request succeeded since .*\n$/,
    );
    await repository.expectNothingNew();
  });

  test("restore succeeds when downloads break off in the middle", async () => {
    let breaks = 0;
    proxy.faultOf = ({ method, key }) =>
      method === "GET" && key.includes("/chunks/") && breaks++ % 2 === 0 ? "half" : undefined;
    const to = repository.path("restored.img");
    const result = await repository.run(["restore", "acme/first", "--to", to]);
    expect({ code: result.code, isBroken: breaks > 1 }).toEqual({ code: 0, isBroken: true });
    expect(sha256(await readFile(to))).toBe(sha256(FIRST));
  });

  test("restore stops at a chunk that the store refuses, and with --keep-going restores the others", async () => {
    const to = repository.path("refused.img");
    let refused = "";
    proxy.faultOf = ({ method, key }) => {
      if (method !== "GET" || !key.includes("/chunks/")) return undefined;
      refused ||= key;
      return key === refused ? 403 : undefined;
    };
    const stopped = await repository.run(["restore", "acme/first", "--to", to]);
    expectOneLine(stopped, { code: 3, line: /Cannot read "s3:.*chunks.*": access denied \(403\)/ });
    const { code, stderr } = await repository.run(["restore", "acme/first", "--to", to, "--keep-going"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/access denied \(403\)/);
    const restored = await readFile(to);
    const isSame = (at: number) =>
      Buffer.compare(restored.subarray(at, at + CHUNK_BYTES), FIRST.subarray(at, at + CHUNK_BYTES)) === 0;
    const same = Array.from({ length: CHUNKS }, (_, i) => isSame(i * CHUNK_BYTES));
    expect(same.filter((isSame) => !isSame)).toHaveLength(1);
  });

  test("what was backed up restores as it was, after all of these", async () => {
    await repository.expectIntact();
  });
});

/** Before the line that tells how it ended come only those about the store, and that a lease may be left. */
function expectLastLine(result: VarveResult, line: RegExp): void {
  const stderr = withoutLog(result.stderr, /^(127\.0\.0\.1:\d+ |could not remove the lease)/);
  expectOneLine({ ...result, stderr }, { code: 1, line });
}
