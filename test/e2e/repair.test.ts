/** The built program on a repository that is damaged: what verify, repair, stats and the next backups say and do. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { RepairReport } from "../../src/engine/verify/repair.ts";
import type { VerifyReport } from "../../src/engine/verify/verify.ts";
import type { ProjectStats } from "../../src/engine/stats/stats.ts";
import { OBJECT_TYPE } from "../../src/format/object.ts";
import { flipBit } from "../kit/damage.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { encodeDiff } from "../kit/rbd_stream.ts";
import type { VarveResult } from "../kit/varve.ts";
import { filesBelow } from "../kit/files_below.ts";

/** The type's place in an object's header (docs/format.md). */
const TYPE_AT = 6;
const CHUNKS = 5;
const CONTENT = noise(CHUNKS * CHUNK_BYTES, "repair");

setDefaultTimeout(RUN_LIMIT_MS);

let repository: TestRepository;
/** A file with the volume's content. */
let image: string;
let chunks: string[];
let pages: string[];
beforeEach(async () => {
  repository = await TestRepository.make();
  writeFileSync(image = repository.path("image"), CONTENT);
  await repository.backUp("acme/vm", CONTENT);
  [chunks, pages] = [objects(OBJECT_TYPE.chunk), objects(OBJECT_TYPE.page)];
});
afterEach(() => repository.remove());

/** The files of the project's chunks, or of its pages. */
function objects(type: number): string[] {
  return inProject("chunks").filter((file) => readFileSync(file)[TYPE_AT] === type);
}

const inProject = (folder: string) => filesBelow(join(repository.url, "projects/acme", folder));

const keyOf = (file: string) => file.slice(repository.url.length + 1);
const flip = (file: string) => writeFileSync(file, flipBit(readFileSync(file), 8 * 100));
const run = (...args: string[]) => repository.run(args);
/** Pages are read from the store, as on a host that knows nothing. */
const forget = () => rmSync(repository.path("cache"), { recursive: true, force: true });
const copyTo = (name: string) => {
  cpSync(repository.url, repository.path(name), { recursive: true });
  return repository.path(name);
};

function report<T>({ stdout, code }: VarveResult, expected: number): T {
  expect(code).toBe(expected);
  return JSON.parse(stdout) as T;
}

/** A verify right after finds nothing, and every point restores. */
async function expectWhole(): Promise<void> {
  forget();
  const { findings, points } = report<VerifyReport>(await run("verify", "acme", "--json"), 0);
  expect(findings).toEqual([]);
  for (const { state } of points) expect(state).toBe("whole");
  await repository.expectIntact();
}

describe("varve repair", () => {
  test("heals in one run what a lost page hid, from a second repository", async () => {
    const second = copyTo("second");
    forget();
    for (const file of [pages[0]!, chunks[1]!, chunks[3]!]) rmSync(file);
    flip(chunks[4]!);
    const { healed, left } = report<RepairReport>(
      await run("repair", "acme", "--from-repo", second, "--json"),
      0,
    );
    expect(healed.toSorted()).toEqual([pages[0]!, chunks[1]!, chunks[3]!, chunks[4]!].map(keyOf).toSorted());
    expect(left).toEqual([]);
    await expectWhole();
  });

  test("makes a lost page again from the source, and the chunks behind it", async () => {
    forget();
    for (const file of [pages[0]!, chunks[1]!]) rmSync(file);
    const { healed } = report<RepairReport>(await run("repair", "acme/vm", "--source", image, "--json"), 0);
    expect(healed.toSorted()).toEqual([pages[0]!, chunks[1]!].map(keyOf).toSorted());
    await expectWhole();
  });

  test("makes a lost page again from this host's cache", async () => {
    rmSync(pages[0]!);
    const { healed } = report<RepairReport>(await run("repair", "acme", "--json"), 0);
    expect(healed).toEqual([keyOf(pages[0]!)]);
    await expectWhole();
  });

  test("brings back lost keys, manifests and holds", async () => {
    await repository.json(["hold", "acme/vm@latest", "--reason", "4711"]);
    const second = copyTo("second");
    const lost = ["keys", "volumes", "holds"].flatMap(inProject);
    for (const file of lost) rmSync(file);
    const { healed } = report<RepairReport>(
      await run("repair", "acme", "--from-repo", second, "--json"),
      0,
    );
    expect(healed.toSorted()).toEqual(lost.map(keyOf).toSorted());
    await expectWhole();
    expect(await repository.json(["list", "acme"])).toMatchObject([{ held: true }]);
  });

  test("brings back no project that was erased, and says how to have it here", async () => {
    const second = copyTo("second");
    report(await run("erase", "acme", "--yes-erase", "acme", "--json"), 0);
    const before = readdirSync(repository.url, { recursive: true }).toSorted();
    for (const name of ["acme", "acme/vm"]) {
      const { code, stdout, stderr } = await run("repair", name, "--from-repo", second);
      expect({ code, stdout, stderr }).toEqual({
        ...{ code: 4, stdout: "" },
        stderr: expect.stringContaining(
          `it does not exist in "${repository.url}"; the repository has no projects; create it with "varve init acme", ` +
            `or copy it with "varve copy acme --repo ${second} --to ${repository.url}"\n`,
        ),
      });
    }
    expect(readdirSync(repository.url, { recursive: true }).toSorted()).toEqual(before);
    expect((await run("copy", "acme", "--repo", second, "--to", repository.url)).code).toBe(0);
    await expectWhole();
  });

  test("without a source marks what is damaged, says what that means, and the next backup heals it", async () => {
    flip(chunks[2]!);
    const damaged = readFileSync(chunks[2]!);
    const { code, stdout, stderr } = await run("repair", "acme");
    expect(code).toBe(3);
    expect(stdout).toMatch(/^acme: 0 healed, 1 left, in /);
    expect(stdout).toContain(
      "1 marked: the next backup of acme/vm that has its content stores it again; until then 1 point is not whole:\n",
    );
    expect(stdout).toMatch(/^acme\/vm +\d{4}-\d\d-\d\d \d\d:\d\dZ +DAMAGED {2}1 of 5 chunks damaged/m);
    expect(stderr).toBe('varve: Cannot repair all of "acme": 1 object is still damaged or missing\n');
    expect(readFileSync(chunks[2]!)).toEqual(damaged);
    expect(inProject("marked")).toHaveLength(1);
    expect(report<ProjectStats>(await run("stats", "acme", "--json"), 0).marked).toBe(1);

    await repository.backUp("acme/vm", CONTENT, { snapshot: "s2" });
    await expectWhole();
    expect(inProject("marked")).toEqual([]);
  });

  test("takes nothing away that another host stored while it read its source", async () => {
    rmSync(chunks[0]!);
    const child = await repairFromPipe();
    // Another host's full backup of the same content stores the chunk again.
    await repository.backUp("acme/other", CONTENT);
    await child.source(noise(CHUNK_BYTES, "nothing that is wanted"));
    expect(await child.report(0)).toMatchObject({ healed: [], left: [], marked: [] });
    await expectWhole();
  });

  test("takes nothing away that a second repair healed while it read its source", async () => {
    flip(chunks[0]!);
    rmSync(chunks[1]!);
    const child = await repairFromPipe();
    const healed = [chunks[0]!, chunks[1]!].map(keyOf).toSorted();
    const other = report<RepairReport>(await run("repair", "acme", "--source", image, "--json"), 0);
    expect(other.healed.toSorted()).toEqual(healed);
    await child.source(noise(CHUNK_BYTES, "nothing that is wanted"));
    expect(await child.report(0)).toMatchObject({ healed: [], left: [], marked: [] });
    expect(inProject("marked")).toEqual([]);
    await expectWhole();
  });

  /** A repair that has verified, and waits for its source. */
  async function repairFromPipe() {
    const pipe = repository.path("pipe");
    execFileSync("mkfifo", [pipe]);
    const child = repository.start(["repair", "acme", "--source", pipe, "--json"]);
    const writer = await open(pipe, "w"); // there once the repair reads
    return {
      source: async (bytes: Uint8Array) => {
        await writer.writeFile(bytes);
        await writer.close();
      },
      report: async (code: number) => {
        const stdout = await new Response(child.stdout).text();
        await child.exited;
        return report<RepairReport>({ code: child.exitCode, stdout, stderr: "" }, code);
      },
    };
  }
});

describe("varve verify", () => {
  test("says first which points are whole, which are not and where, and what to do", async () => {
    await repository.backUp("acme/other", noise(CHUNK_BYTES, "other"));
    for (const file of [chunks[1]!, chunks[2]!]) rmSync(file);
    const { code, stdout, stderr } = await run("verify", "acme");
    expect(code).toBe(3);
    const [heading, ...lines] = stdout.split("\n");
    expect(heading).toMatch(/^VOLUME +POINT +STATE$/);
    expect(lines[0]).toMatch(/^acme\/other +\d{4}-\d\d-\d\d \d\d:\d\dZ +whole$/);
    expect(lines[1]).toMatch(
      /^acme\/vm +\S+ \S+ +DAMAGED {2}2 of 5 chunks missing \(128 KiB of 320 KiB\), first at [\d.]+ (B|KiB)$/,
    );
    expect(lines[2]).toBe("next: varve repair acme --source DEVICE, or --from-repo URL");
    for (const line of lines) expect(line.length).toBeLessThan(120);
    expect(stderr).toBe("varve: Cannot verify the repository: 2 objects are missing or damaged\n");

    const { points } = report<VerifyReport>(await run("verify", "acme", "--json"), 3);
    expect(points).toMatchObject([{ volume: "other", state: "whole" }, {
      ...{ volume: "vm", state: "damaged", chunks: 5, damaged_chunks: 2, damaged_bytes: 2 * CHUNK_BYTES },
    }]);
    const missing = points[1]!.ranges.reduce((sum, { length }) => sum + length, 0);
    expect(missing).toBe(2 * CHUNK_BYTES);
  });

  test("does not call whole what it did not read", async () => {
    expect((await run("verify", "acme", "--exists")).stdout).toMatch(/^acme\/vm +\S+ \S+ +all there$/m);
    const { stdout } = await run("verify", "acme", "--sample", "1/1000");
    expect(stdout).toMatch(/^acme\/vm +\S+ \S+ +all there, read back in part$/m);
  });

  test("--exists finds a chunk that was cut to nothing", async () => {
    truncateSync(chunks[0]!, 0);
    const { findings } = report<VerifyReport>(await run("verify", "acme", "--exists", "--json"), 3);
    expect(findings).toMatchObject([{ kind: "damaged", key: keyOf(chunks[0]!) }]);
  });

  test("names a damaged manifest, and verifies the others", async () => {
    const [manifest] = inProject("volumes");
    await repository.backUp("acme/vm", CONTENT, { snapshot: "s2" });
    flip(manifest!);
    const { code, stdout } = await run("verify", "acme");
    expect(code).toBe(3);
    expect(stdout).toMatch(/^acme\/vm +\d{8}T\S+ +UNREADABLE {2}its manifest is damaged$/m);
    expect(stdout).toMatch(/^acme\/vm +\S+ \S+ +whole$/m);
    // No source has a manifest.
    expect(stdout).toMatch(/^next: varve repair acme --from-repo URL$/m);
    rmSync(chunks[1]!);
    expect((await run("verify", "acme")).stdout).toMatch(
      /^next: varve repair acme --source DEVICE, or --from-repo URL; 1 object can only come from a repository$/m,
    );
  });
});

describe("varve stats", () => {
  test("prints no figure that is wrong when a page is gone", async () => {
    rmSync(pages[0]!);
    const { code, stdout, stderr } = await run("stats", "acme");
    expect(code).toBe(3);
    expect(stdout).toMatch(/^acme .* \?$/m);
    expect(stderr).toBe(
      'varve: Cannot count all of "acme": 1 page cannot be read; ' +
        'run "varve verify acme" to see the effect\n',
    );
    expect(report<ProjectStats>(await run("stats", "acme", "--json"), 3)).toMatchObject({
      unreferenced_bytes: null,
      volumes: [{ stored_bytes: null, unique_bytes: null, size_bytes: CONTENT.length }],
      unreadable: [{ key: keyOf(pages[0]!) }],
    });
  });
});

test("varve exits with 3 from backup and from restore when an object that is needed is missing", async () => {
  forget();
  rmSync(pages[0]!);
  const stdin = encodeDiff([
    { tag: "f", name: "s1" },
    { tag: "t", name: "s2" },
    { tag: "s", sizeBytes: CONTENT.length },
    { tag: "w", offset: 0, data: noise(CHUNK_BYTES, "new") },
    { tag: "e" },
  ]);
  expect((await repository.run(["backup", "acme/vm"], { stdin })).code).toBe(3);
  expect((await run("restore", "acme/vm", "--to", repository.path("restored"))).code).toBe(3);
});

test("varve restore to a file that was last restored from a point that is damaged now restores the latest", async () => {
  const to = repository.path("restored");
  await repository.json(["restore", "acme/vm", "--to", to]);
  const [manifest] = inProject("volumes");
  const changed = noise(CONTENT.length, "changed");
  await repository.backUp("acme/vm", changed, { snapshot: "s2" });
  flip(manifest!);
  await repository.json(["restore", "acme/vm@latest", "--to", to]);
  expect(readFileSync(to).equals(changed)).toBe(true);
});
