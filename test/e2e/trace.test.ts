/** `--log-level trace`: one line for each request to the store, in a directory and on MinIO, without a secret in it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import type { StoreRequest } from "../../src/store/wrappers/trace.ts";
import { noise } from "../kit/engine.ts";
import { describeWith } from "../kit/parts.ts";
import { type Place, PLACES } from "../kit/places.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

const LIMIT_MS = 120_000;
const PASSPHRASE = "a passphrase that nobody may read";
const TRACE = ["--log-level", "trace", "--log-format", "json"];

type Line = StoreRequest & { level: string; msg: string };

function requestsOf(stderr: string): Line[] {
  const lines = stderr.trim().split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line) as Line).filter(({ level }) => level === "trace");
}

for (const [name, parts, start] of PLACES.filter(([name]) => name !== "radosgw")) {
  describeWith(parts, `varve --log-level trace on ${name}`, () => {
    const folder = scratchFolder();
    let place: Place;
    let bench: Workbench;
    beforeAll(async () => {
      place = await start();
      bench = new Workbench(folder, { ...place.env, VARVE_PASSPHRASE: PASSPHRASE });
      await bench.json(["init", "acme"]);
      await writeFile(bench.path("image"), noise(1, 64 * 1024));
    }, LIMIT_MS);
    afterAll(() => place?.stop(), LIMIT_MS);

    test("logs each request of a backup with method, key, bytes, time and outcome", async () => {
      const { code, stderr } = await bench.run([
        ...TRACE,
        "backup",
        "acme/db",
        bench.path("image"),
        "--format",
        "raw",
      ]);
      const requests = requestsOf(stderr);
      expect({ code, messages: new Set(requests.map(({ msg }) => msg)) }).toEqual({
        code: 0,
        messages: new Set(["request"]),
      });
      // Every object that is there was put by a request that is logged, or was there before.
      const puts = requests.filter(({ method, outcome }) => method === "put" && outcome === "done");
      const stored = (await place.keys()).filter((key) => /\/(chunks|volumes)\//.test(key));
      expect(puts.map(({ key }) => key)).toEqual(expect.arrayContaining(stored));
      const { bytes = 0, ms } = puts.find(({ key }) => key.includes("/chunks/"))!;
      expect(bytes).toBeGreaterThan(64 * 1024);
      expect(ms).toBeGreaterThanOrEqual(0);
    }, LIMIT_MS);

    test("logs no secret", async () => {
      const { code, stderr } = await bench.run([...TRACE, "list", "acme"]);
      expect({ code, traced: requestsOf(stderr).length > 0 }).toEqual({ code: 0, traced: true });
      const { AWS_SECRET_ACCESS_KEY: key = PASSPHRASE } = place.env;
      for (const secret of [PASSPHRASE, key]) expect(stderr).not.toContain(secret);
    }, LIMIT_MS);

    test("logs no request with --log-level debug", async () => {
      const { code, stderr } = await bench.run([
        "--log-level",
        "debug",
        "--log-format",
        "json",
        "list",
        "acme",
      ]);
      expect({ code, requests: requestsOf(stderr) }).toEqual({ code: 0, requests: [] });
    }, LIMIT_MS);
  });
}
