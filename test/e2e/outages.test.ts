/** The built program and a store that is away, for a while or for longer than it is waited for: MinIO behind a proxy. */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type Call, FaultyS3 } from "../kit/faulty_s3.ts";
import { messages } from "../kit/log.ts";

import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, expectOneLine, noise, TestRepository } from "../kit/repository.ts";
import { fullStream } from "../kit/rbd_stream.ts";
import { startProxiedRepository } from "../kit/proxied_repository.ts";

const BYTES = noise(64 * CHUNK_BYTES, "volume");
/** Outages of real time, which is what the operator's option speaks of. */
setDefaultTimeout(240_000);

describeWith(["MinIO"], "varve and a store that is away", () => {
  let stop: () => Promise<void>;
  let proxy: FaultyS3;
  let repository: TestRepository;
  let host: string;

  beforeAll(async () => {
    ({ proxy, repository, stop } = await startProxiedRepository());
    host = new URL(proxy.endpoint).host;
    await repository.backUp("acme/first", BYTES);
  });
  beforeEach(() => proxy.reset());
  afterAll(() => stop?.());

  const isChunk = ({ method, key }: Call, of: string) => method === of && key.includes("/chunks/");

  test("backup at --jobs 16 goes on after 45 s without it, and says so in three lines at most", async () => {
    let chunks = 0;
    let back: Promise<void> | undefined;
    proxy.faultOf = (call) => {
      if (!isChunk(call, "PUT") || ++chunks < 8) return undefined;
      if (back === undefined) {
        proxy.goAway();
        back = Bun.sleep(45_000).then(() => proxy.comeBack());
      }
      return "cut";
    };
    const stdin = fullStream(noise(64 * CHUNK_BYTES, "away"));
    const child = repository.start(["--jobs", "16", "backup", "acme/away", "--json"], { stdin });
    const stderr = new Response(child.stderr).text();
    while (back === undefined) await Bun.sleep(10); // until it is so
    await back;
    proxy.reset();
    expect(await child.exited).toBe(0);
    expect(messages(await stderr)).toEqual([
      `${host} does not answer (connection refused); retrying for up to 15 minutes`,
      expect.stringMatching(new RegExp(`^${host} is back after \\d+ s$`)),
    ]);
    const { backup } = JSON.parse(await new Response(child.stdout).text());
    repository.expectPoint("acme/away", backup, noise(64 * CHUNK_BYTES, "away"));
    await repository.expectIntact();
  });

  test("backup ends with one line that says since when, after it was away for longer than --retry-for", async () => {
    proxy.faultOf = (call) => {
      if (isChunk(call, "PUT")) proxy.goAway();
      return undefined;
    };
    const stdin = fullStream(noise(64 * CHUNK_BYTES, "gone"));
    const result = await repository.run(["--retry-for", "8s", "--jobs", "16", "backup", "acme/gone"], {
      stdin,
    });
    await proxy.comeBack();
    proxy.reset();
    const lines = messages(result.stderr);
    expect(lines.filter((line) => line.startsWith(host))).toEqual([
      `${host} does not answer (connection refused); retrying for up to 8 s`,
    ]);
    expect(result.stderr.split("\n").at(-2)).toMatch(
      /^varve: Cannot .* \(ECONN\w+\); no request succeeded since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC, for more than 8 s \(--retry-for\)$/,
    );
    expect(result.code).toBe(1);
    await repository.expectNothingNew();
  });

  test("restore ends with an error of the one chunk that is answered 503 each time", async () => {
    const bad = new Set<string>();
    proxy.faultOf = (call) => {
      if (!isChunk(call, "GET")) return undefined;
      if (bad.size === 0) bad.add(call.key);
      return bad.has(call.key) ? 503 : undefined;
    };
    const env = { VARVE_RETRY_FOR: "2s" };
    const to = repository.path("one.img");
    const result = await repository.run(["restore", "acme/first", "--to", to], { env });
    expect(result.stderr.split("\n").at(-2)).toMatch(
      /^varve: .*Cannot read "s3:.*chunks.*answered \(503.*\(\d+ attempts in \d+ s\)/,
    );
    expect(messages(result.stderr).filter((line) => line.includes("does not answer"))).toEqual([]);
    expect([1, 3]).toContain(result.code!);
  });

  test("a request that the store wants later comes later", async () => {
    let first: number | undefined;
    let second: number | undefined;
    proxy.faultOf = (call) => {
      if (!isChunk(call, "GET")) return undefined;
      if (first === undefined) {
        first = performance.now();
        return { status: 503, headers: { "retry-after": "3" } };
      }
      second ??= performance.now();
      return undefined;
    };
    const to = repository.path("later.img");
    const args = [
      "--jobs",
      "1",
      "restore",
      "acme/first",
      "--to",
      to,
      "--offset",
      "0",
      "--length",
      String(CHUNK_BYTES),
    ];
    expect(await repository.run(args)).toMatchObject({ code: 0, stderr: "" });
    expect(second! - first!).toBeGreaterThanOrEqual(3000);
    expect(readFileSync(to).subarray(0, CHUNK_BYTES).equals(BYTES.subarray(0, CHUNK_BYTES))).toBe(true);
  });
});

test("--retry-for and VARVE_RETRY_FOR take a time, and nothing else", async () => {
  const repository = await TestRepository.make();
  for (const time of ["90s", "15m", "2h"]) {
    expect((await repository.run(["--retry-for", time, "list"])).code).toBe(0);
  }
  for (const time of ["0s", "15", "-1s", "1.5h", "x", "1d"]) {
    const result = await repository.run(["list"], { env: { VARVE_RETRY_FOR: time } });
    expectOneLine(result, { code: 2, line: /Expected a duration such as 90s, 15m or 2h/ });
  }
  await repository.remove();
});
