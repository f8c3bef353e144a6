/** What commands print for people: tables of 80 columns, pages, statements; and which of it goes to which stream. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import type { BackupInfo } from "../../src/project/catalog.ts";
import { encodeDiff } from "../kit/rbd_stream.ts";
import { messages } from "../kit/log.ts";
import { fullStream } from "../kit/rbd_stream.ts";
import { CHUNK_BYTES, noise, TestRepository } from "../kit/repository.ts";
import { Terminal } from "../kit/terminal.ts";

setDefaultTimeout(60_000);

const BYTES = noise(10 * CHUNK_BYTES, "volume");
const LONG_SNAPSHOT = `before-${"upgrade-".repeat(10)}of-the-kernel`;
const SILENCE = { code: 0, stdout: "", stderr: "" };

let repository: TestRepository;
let points: BackupInfo[];
beforeAll(async () => {
  repository = await TestRepository.make({ projects: ["acme", "empty"] });
  await repository.json(["backup", "acme/vm1", "--tag", "nightly"], {
    stdin: fullStream(BYTES, "varve-12345678-20261128T163014383Z-1a2b3c4d"),
  });
  // Times are shown to the second: two points of one second have only their ids.
  await Bun.sleep(1000);
  // One block of one chunk, one chunk of zeros.
  const increment = encodeDiff([
    { tag: "f", name: "varve-12345678-20261128T163014383Z-1a2b3c4d" },
    { tag: "t", name: LONG_SNAPSHOT },
    { tag: "s", sizeBytes: BYTES.length },
    { tag: "w", offset: 0, data: noise(4096, "block") },
    { tag: "z", offset: 9 * CHUNK_BYTES, length: CHUNK_BYTES },
    { tag: "e" },
  ]);
  await repository.json(["backup", "acme/vm1", "--tag", "nightly", "--tag", "kernel"], { stdin: increment });
  points = await repository.json<BackupInfo[]>(["list", "acme/vm1"]);
  await repository.json(["hold", `acme/vm1@${points[1]!.backup}`, "--reason", "case 4711"]);
});
afterAll(() => repository.remove());

/** What a terminal of 80 columns shows of a command that succeeds. */
async function shown(line: string, env: Record<string, string> = {}): Promise<string[]> {
  const terminal = new Terminal(`varve ${line}`, { ...repository.env, ...env }, { columns: 80 });
  expect(await terminal.ended()).toEqual([0]);
  return terminal.output.split("\r\n").slice(0, -2);
}

const idOf = (point: BackupInfo) => point.backup.slice(-8);

describe("varve list", () => {
  test("fits a terminal of 80 columns, in the zone of whoever looks, and says kind, change and age", async () => {
    for (const [zone, shift] of [["UTC", "Z"], ["Europe/Berlin", "\\+0[12]"], ["Asia/Kolkata", "\\+05:30"]]) {
      const lines = await shown("list acme", { TZ: zone! });
      expect(lines.filter((line) => Bun.stringWidth(line) > 80)).toEqual([]);
      const time = `[-\\d]{10} [:\\d]{5,8}${shift}`;
      expect(lines).toEqual([
        expect.stringMatching(/^ {2}TIME +ID +KIND +ADDED +AGE +SIZE +NOTES$/),
        "acme/vm1, not encrypted",
        expect.stringMatching(
          new RegExp(
            `^ {2}${time} {2}${idOf(points[0]!)} {2}full {2,}\\+6\\d\\d KiB +\\d+[sm] {2}640 KiB {2}nightly$`,
          ),
        ),
        expect.stringMatching(
          new RegExp(
            `^ {2}${time} {2}${
              idOf(points[1]!)
            } {2}incr {2,}\\+\\S+ KiB +\\d+[sm] {2}640 KiB {2}HELD befo.*…$`,
          ),
        ),
      ]);
    }
  });

  test("cuts nothing where it goes to a pipe", async () => {
    expect((await repository.run(["list"])).stdout).toContain(`HELD ${LONG_SNAPSHOT} nightly,kernel\n`);
  });

  test("shows ids and times that name their points, in any zone", async () => {
    const backupOf = async (point: string, zone: string) =>
      (await repository.run(["show", `acme/vm1@${point}`, "--field", "backup"], { env: { TZ: zone } }))
        .stdout;
    for (const zone of ["UTC", "Asia/Kolkata"]) {
      for (const [at, line] of (await shown("list acme/vm1", { TZ: zone })).slice(2).entries()) {
        const [, time, id] = / {2}(\S+ \S+) {2}([0-9a-f]{8}) /.exec(line)!;
        for (const point of [id!, `id:${id}`, `time:${time}`]) {
          expect(await backupOf(point, "America/New_York")).toBe(`${points[at]!.backup}\n`);
        }
      }
    }
  });

  test("says in JSON what a point took, its times in UTC", () => {
    expect(points.map(({ time }) => time)).toEqual(points.map(() => expect.stringMatching(/T[\d:.]{12}Z$/)));
    expect(points.map(({ base }) => base)).toEqual([null, points[0]!.backup]);
    expect(points[1]).toMatchObject({
      chunks: { total: 10, changed: 2, new: 0, patched: 1, reused: 0, zero: 1 },
      host: expect.any(String),
      stream_bytes: expect.any(Number),
      uploaded_bytes: expect.any(Number),
      duration_s: expect.any(Number),
    });
  });

  test("says what to do where there is nothing to list, beside the answer", async () => {
    expect(await repository.run(["list", "empty"])).toEqual({
      code: 0,
      stdout: "",
      stderr: 'empty: no restore points; "varve backup empty/VOLUME SOURCE" creates one\n',
    });
    expect((await repository.run(["list"])).stderr).toStartWith("empty: no restore points; ");
    const env = { VARVE_REPO: repository.path("new") };
    expect((await repository.run(["init"], { env })).code).toBe(0);
    expect(await repository.run(["list"], { env })).toEqual({
      code: 0,
      stdout: "",
      stderr: `There are no projects in "${env.VARVE_REPO}"; "varve init PROJECT" creates one\n`,
    });
    expect(await repository.run(["list", "--quiet"], { env })).toEqual(SILENCE);
    expect(await repository.run(["list", "--json"], { env })).toEqual({ ...SILENCE, stdout: "[]\n" });
  });
});

describe("a point that is named by what may be two things", () => {
  test("is the one that the prefix says, wherever a point is named", async () => {
    await repository.json(["backup", "acme/names"], { stdin: fullStream(BYTES, "yesterday") });
    await repository.json(["backup", "acme/names"], { stdin: fullStream(BYTES, "latest") });
    await repository.json(["backup", "acme/names"], { stdin: fullStream(BYTES, "s3") });
    const field = async (point: string) =>
      (await repository.run(["show", `acme/names@${point}`, "--field", "to_snapshot"])).stdout.trim();
    expect(await field("latest")).toBe("s3");
    expect(await field("yesterday")).toBe("yesterday");
    const target = ["--to", repository.path("names.img")];
    for (const args of [["verify"], ["hold"], ["release"], ["restore", ...target], ["forget", "--dry-run"]]) {
      const [command, ...options] = args;
      expect((await repository.run([command!, "acme/names@snap:latest", ...options])).code).toBe(0);
      const { code, stderr } = await repository.run([command!, "acme/names@time:yesterday", ...options]);
      expect({ code, stderr }).toEqual({
        code: 4,
        stderr: expect.stringContaining("no restore point is that old"),
      });
    }
    const changed = encodeDiff([{ tag: "f", name: "s3" }, { tag: "s", sizeBytes: BYTES.length }, {
      tag: "e",
    }]);
    expect((await repository.run(["backup", "acme/names", "--base", "snap:s3"], { stdin: changed })).code)
      .toBe(0);
    const since = [...target, "--changed-since", "snap:latest", "--changes", "-"];
    const stdin = encodeDiff([{ tag: "f", name: "latest" }, { tag: "s", sizeBytes: BYTES.length }, {
      tag: "e",
    }]);
    expect((await repository.run(["restore", "acme/names@snap:s3", ...since], { stdin })).code).toBe(0);
  });
});

test("varve show is a page for people", async () => {
  const lines = await shown(`show acme/vm1@${idOf(points[1]!)}`, { TZ: "Europe/Berlin" });
  expect(lines.join("\n")).toMatch(
    new RegExp([
      "^Volume {6}acme/vm1",
      `Id {10}${points[1]!.backup}`,
      "Time {8}\\S+ \\S+\\+0[12] \\(\\d+[sm] ago\\)",
      `Kind {8}increment of ${points[0]!.backup}; restores on its own`,
      `Snapshot {4}${LONG_SNAPSHOT} \\(changes since varve-12345678-\\S+\\)`,
      "Size {8}640 KiB \\(655,360 bytes\\), 10 chunks of 64\\.0 KiB",
      "Changes {5}2 of 10 chunks read: 0 new, 1 patched, 0 reused, 1 zero",
      "Transfer {4}read \\S+ KiB, uploaded \\S+ KiB in 0:0\\d",
      "Host {8}\\S+",
      "Tags {8}nightly, kernel",
      "Held {8}yes: case 4711",
      "Encryption {2}none: anyone with read access to the store can read it$",
    ].join("\n")),
  );
});

describe("what a command has done", () => {
  const file = () => repository.path("disk.img");

  test("is said on a terminal: a backup counts each chunk that it read once", async () => {
    writeFileSync(file(), BYTES);
    await repository.json(["backup", "acme/disk", file(), "--format", "raw"]);
    writeFileSync(file(), Buffer.concat([noise(4096, "new"), BYTES.subarray(4096)]));
    const text = (await shown(`backup acme/disk ${file()} --format raw`)).join("\n");
    expect(text).toMatch(/@\S+: 640 KiB, 10 of 10 chunks read: 0 new, 1 patched, 9 reused, 0 zero\n/);
    expect((await shown(`hold acme/disk@latest`)).join("\n")).toMatch(/^acme\/disk@\S+: held$/);
    expect((await shown(`release acme/disk@latest`)).join("\n")).toMatch(/^acme\/disk@\S+: released$/);
  });

  test("is silent elsewhere, as cron wants it", async () => {
    writeFileSync(file(), BYTES);
    const second = repository.path("second");
    for (
      const args of [
        ["backup", "acme/silent", file(), "--format", "raw"],
        ["hold", "acme/silent@latest"],
        ["release", "acme/silent@latest"],
        ["restore", "acme/silent", "--to", repository.path("silent.img")],
        ["init", "another", "--no-encryption"],
        ["init", "--repo", second, "--chunk-size", String(CHUNK_BYTES)],
        ["copy", "acme/silent", "--to", second],
        ["forget", "acme/silent@latest"],
        ["gc", "acme"],
      ]
    ) {
      expect({ args, ...await repository.run(args) }).toEqual({ args, ...SILENCE });
    }
  });

  test("is the answer of a dry run, on standard output", async () => {
    const gone = await repository.backUp("acme/gone", noise(3 * CHUNK_BYTES, "gone"));
    const dry = await repository.run(["forget", `acme/gone@${gone.backup}`, "--dry-run"]);
    expect({ code: dry.code, stderr: dry.stderr }).toEqual({ code: 0, stderr: "" });
    expect(dry.stdout).toMatch(
      /^VOLUME +TIME +ID +ACTION +RULES\nacme\/gone +\S+ \S+Z +[0-9a-f]{8} +drop\nacme\/gone@\S+: 1 of 1 point would be forgotten, 0 kept\n"varve stats acme\/gone" shows what each point alone would free\n$/,
    );
    expect((await repository.run(["forget", `acme/gone@${gone.backup}`])).code).toBe(0);
    expect(await repository.run(["gc", "acme", "--dry-run"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        /^acme: \d+ objects are needed by no restore point \(\S+ KiB\), \S+ \S+ in use\n {2}\d+ too new to be condemned\n/,
      ),
      stderr: "",
    });
    expect(await repository.run(["gc", "empty", "--dry-run"])).toMatchObject({
      stdout: "empty: nothing to delete, 0 B in use\n",
    });
  });
});

describe("the log", () => {
  let volumes = 0;
  const backUp = (words: string[], env: Record<string, string> = {}) => {
    const args = ["backup", `acme/log-${++volumes}`, ...words, "--log-level", "info"];
    return repository.run(args, { stdin: fullStream(BYTES), env });
  };

  test("is for people, also where no terminal is, unless JSON is wanted", async () => {
    for (const [words, env] of [[[], {}], [["--json"], { VARVE_LOG_FORMAT: "pretty" }]] as const) {
      const { stderr } = await backUp([...words], env);
      expect(stderr).toMatch(/^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}\] INFO: backed up \{/);
    }
    for (const [words, env] of [[["--json"], {}], [[], { VARVE_LOG_FORMAT: "json" }]] as const) {
      const { stderr } = await backUp([...words], env);
      expect(JSON.parse(stderr)).toMatchObject({ level: "info", msg: "backed up" });
    }
  });

  test("says as much as VARVE_LOG_LEVEL wants", async () => {
    const { stderr } = await repository.run(["backup", "acme/log"], {
      stdin: fullStream(BYTES),
      env: { VARVE_LOG_LEVEL: "info" },
    });
    expect(messages(stderr)).toContain("backed up");
  });
});
