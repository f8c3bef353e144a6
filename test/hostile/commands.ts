/** What is done with a repository that was attacked, and what must hold of it beyond what holds of every command. */
import fs from "node:fs";
import { KEY_ID_BYTES } from "../../src/format/limits.ts";
import { isKey } from "../../src/store/key.ts";
import type { Round } from "./round.ts";
import type { Ran } from "./run.ts";
import { nextState, type Point, type ProjectName, PROJECTS } from "./template.ts";
import { fullStream } from "../kit/rbd_stream.ts";

export interface Command {
  weight: number;
  act: (round: Round) => Promise<void>;
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  list: { weight: 5, act: (round) => look(round, "list") },
  stats: { weight: 3, act: (round) => look(round, "stats") },
  show: {
    weight: 4,
    act: async (round) => {
      const point = somePoint(round);
      const args = ["show", pointName(round, point), ...(round.once(2) ? ["--json"] : [])];
      await round.varve(args, { secret: point.project });
    },
  },
  verify: { weight: 6, act: verify },
  verifyExists: {
    weight: 3,
    act: async (round) => {
      const project = someProject(round);
      const scope = round.once(3) ? [] : [project];
      const how = round.pick([["--exists"], ["--sample", "1/3"], ["--exists", "--json"]]);
      await round.varve(["verify", ...scope, ...how], { secret: project });
    },
  },
  restoreToPipe: {
    weight: 8,
    act: async (round) => {
      const point = somePoint(round);
      const args = ["restore", pointName(round, point), "--to", "-"];
      judgeBytes(round, point, await round.varve(args, { secret: point.project, output: "bytes" }));
    },
  },
  restoreToFile: { weight: 8, act: restoreToFile },
  restoreDiff: {
    weight: 2,
    act: async (round) => {
      const point = somePoint(round);
      const args = ["restore", pointName(round, point), "--to", "-", "--format", "rbd-diff", "--from", "s1"];
      await round.varve(args, { secret: point.project, output: "bytes" });
    },
  },
  backUp: { weight: 8, act: backUp },
  forget: {
    weight: 3,
    act: async (round) => {
      const project = someProject(round);
      const args = round.pick([
        [project, "--keep-last", "2", "--force"],
        [project, "--keep-daily", "3", "--dry-run"],
        [`${project}/db@s2`, "--force"],
        [`${project}/db`, "--keep-within", "30d", "--json"],
      ]);
      await round.varve(["forget", ...args], { secret: project });
      if (!args.includes("--dry-run")) round.hasForgotten = true;
    },
  },
  gc: {
    weight: 5,
    act: async (round) => {
      const project = someProject(round);
      const how = round.pick([[], ["--dry-run"], ["--grace", "0"], ["--grace", "0", "--force"], ["--json"]]);
      await round.varve(["gc", ...(round.once(4) ? [] : [project]), ...how], { secret: project });
    },
  },
  hold: {
    weight: 2,
    act: async (round) => {
      const point = somePoint(round);
      const args = round.pick([["hold", pointName(round, point), "--reason", "why not"], [
        "release",
        `${point.project}/db@s1`,
      ]]);
      await round.varve(args, { secret: point.project });
    },
  },
  copy: {
    weight: 3,
    act: async (round) => {
      const project = someProject(round);
      const to = round.pick(["second", "second", "second", "targets/third"]);
      await round.varve(["copy", project, "--to", round.path(to)], { secret: project });
    },
  },
  copyBack: {
    weight: 1,
    act: async (round) => {
      await round.varve(["--repo", round.path("second"), "copy", "acme", "--to", round.victim.url], {
        secret: "acme",
      });
    },
  },
  repair: {
    weight: 4,
    act: async (round) => {
      const project = someProject(round);
      const source = round.path("targets/source");
      fs.writeFileSync(source, round.pick(round.template.pointsOf(project, "db")).bytes);
      const args = round.pick([
        [project],
        [project, "--from-repo", round.path("second")],
        [`${project}/db`, "--source", source],
      ]);
      await round.varve(["repair", ...args], { secret: project });
    },
  },
  init: {
    weight: 1,
    act: async (round) => {
      const args = round.pick([["gamma", "--no-encryption"], ["acme", "--no-encryption"], ["beta"], []]);
      const secret = args.includes("--no-encryption") ? undefined : "beta";
      const { code } = await round.varve(["init", ...args], { secret });
      if (code === 0 && args[0] !== undefined) round.remade.add(args[0]);
    },
  },
  erase: {
    weight: 3,
    act: async (round) => {
      const project = round.pick([someProject(round), "zeta"]);
      const args = [
        "erase",
        project,
        "--yes-erase",
        project,
        ...round.pick([[], ["--json"], ["--even-held"], ["--even-held"]]),
      ];
      const ran = await round.varve(args, { mayWait: true });
      const listed = ran.code === 0 ? await round.victim.keys(`projects/${project}/`) : [];
      // The host forgets a project that it erases: what is put back later is new to it.
      if (ran.code === 0) round.hasForgotten = true;
      const left = listed.find(isKey); // other names are no object's
      if (left !== undefined) round.fail(ran.args, `it ends with exit code 0, and "${left}" is left`);
    },
  },
};

function someProject(round: Round): ProjectName {
  return round.once(4) ? round.pick(["acme", "beta", "open"]) : round.focus;
}

function somePoint(round: Round): Point {
  const project = someProject(round);
  return round.pick(round.template.points.filter((point) => point.project === project));
}

/** By its id, or by what may mean another one. */
function pointName(round: Round, { project, volume, backup, snapshot }: Point): string {
  return `${project}/${volume}${round.pick([`@${backup}`, `@${backup}`, "", `@${snapshot}`, "@~1"])}`;
}

async function look(round: Round, command: string): Promise<void> {
  const project = someProject(round);
  const scope = round.pick([[], [project], [`${project}/db`]]);
  await round.varve([command, ...scope, ...(round.once(2) ? ["--json"] : [])], { secret: project });
}

/** Whether a point of the sealed project may have these bytes: those of the point that was named, if it was by its id. */
function isAuthentic(round: Round, point: Point, backup: string | undefined, bytes: Uint8Array): boolean {
  const known = round.points(point.project, point.volume);
  const meant = backup === undefined ? known : known.filter((other) => other.backup === backup);
  return meant.some((other) => Buffer.compare(other.bytes, bytes) === 0);
}

function judgeBytes(
  round: Round,
  point: Point,
  ran: Ran,
  bytes = ran.stdout,
  backup = namedBackup(ran),
): void {
  if (ran.code !== 0 || !round.isSealed(point.project) || ran.isCut) return;
  if (!isAuthentic(round, point, backup, bytes)) round.fail(ran.args, "wrong bytes, with exit code 0");
  judgeLatest(round, point, ran, bytes);
}

/** A store may give an older state for the latest; to a host that has seen the newer one it is said. */
function judgeLatest(round: Round, { project, volume }: Point, ran: Ran, bytes: Uint8Array): void {
  const isLatest = ran.args[1] === `${project}/${volume}`;
  const newest = round.template.pointsOf(project, volume).at(-1)!;
  if (!isLatest || !round.hostRemembers || round.hasForgotten || ran.stderr !== "") return;
  const isOlder = round.points(project, volume).some((point) =>
    point.backup < newest.backup && Buffer.compare(point.bytes, bytes) === 0
  );
  if (isOlder) round.fail(ran.args, "it gives an older point than this host has seen, and does not say so");
}

/** The id behind the `@`, where there is one. */
function namedBackup({ args }: Ran): string | undefined {
  return /@(\d{8}T\d{9}Z-[0-9a-f]{8})$/.exec(args[1] ?? "")?.[1];
}

/** A new file, or one that holds another point. */
async function restoreToFile(round: Round): Promise<void> {
  const point = somePoint(round);
  const target = round.path("targets/volume");
  fs.rmSync(target, { force: true });
  if (round.once(2)) {
    fs.writeFileSync(target, round.pick(round.template.points).bytes.subarray(0, point.bytes.length));
  }
  const args = ["restore", pointName(round, point), "--to", target, "--json"];
  const ran = await round.varve([...args, ...(round.once(3) ? ["--verify-target"] : [])], {
    secret: point.project,
  });
  if (ran.code !== 0) return;
  const report = JSON.parse(Buffer.from(ran.stdout).toString()) as { backup?: string };
  if (round.isSealed(point.project)) judgeBytes(round, point, ran, fs.readFileSync(target), report.backup);
}

/** What is verified as whole and listed can be restored, and is what it was. */
async function verify(round: Round): Promise<void> {
  const project = someProject(round);
  const scope = round.once(4) ? [] : [project];
  const ran = await round.varve(["verify", ...scope, ...(round.once(3) ? ["--json"] : [])], {
    secret: project,
  });
  if (ran.code !== 0 || !round.isSealed(project)) return;
  const listed = await round.varve(["list", project, "--json"], { secret: project });
  if (listed.code !== 0) return;
  const points = JSON.parse(Buffer.from(listed.stdout).toString()) as { backup: string }[];
  const known = PROJECTS.flatMap((name) => round.points(name, "db").concat(round.points(name, "web/root")))
    .filter((point) => point.project === project && points.some(({ backup }) => backup === point.backup));
  if (known.length === 0) return;
  const point = round.pick(known);
  const spec = `${project}/${point.volume}@${point.backup}`;
  const restored = await round.varve(["restore", spec, "--to", "-"], { secret: project, output: "bytes" });
  judgeBytes(round, point, restored);
  if (restored.ended === "itself" && restored.code !== 0) {
    round.fail(ran.args, `verify finds nothing wrong, and restore ${spec} ends with ${restored.code}`);
  }
}

/**
 * In full, or the difference to the newest point that there should be. What is stored is sealed with the project's own key,
 * and the point is there.
 */
async function backUp(round: Round): Promise<void> {
  const project = someProject(round);
  const known = round.points(project, "db");
  const { stream, snapshot, bytes } = nextState(known.length, known.at(-1)!, `${project}/db`);
  const before = new Set(await round.victim.keys(`projects/${project}/`));
  const stdin = round.once(2) ? stream : fullStream(bytes, snapshot);
  const ran = await round.varve(["backup", `${project}/db`, "--json"], { secret: project, stdin });
  if (ran.code !== 0) return;
  const { backup } = JSON.parse(Buffer.from(ran.stdout).toString()) as { backup: string };
  const point = { project, volume: "db", backup, snapshot, bytes };
  round.made.push(point);
  // Who comes to a repository for the first time cannot know that a key in it was replaced.
  if (round.isSealed(project) && round.hostRemembers) await judgeKeys(round, ran, { project, before });
  await judgeMade(round, ran, point);
}

/** What it was deduplicated against may be damaged; but it is there. */
async function judgeMade(round: Round, ran: Ran, point: Point): Promise<void> {
  const { project, volume, backup } = point;
  const args = ["restore", `${project}/${volume}@${backup}`, "--to", "-"];
  const restored = await round.varve(args, { secret: project, output: "bytes" });
  judgeBytes(round, point, restored);
  if (restored.code === 4) round.fail(ran.args, `its point "${backup}" is not there`);
}

async function judgeKeys(
  round: Round,
  ran: Ran,
  { project, before }: { project: ProjectName; before: ReadonlySet<string> },
): Promise<void> {
  const ids = round.template.keyIds(project);
  for (const key of await round.victim.keys(`projects/${project}/`)) {
    if (before.has(key)) continue;
    const head = (await round.victim.read(key))?.subarray(8, 8 + KEY_ID_BYTES) ?? new Uint8Array();
    if (ids.includes(Buffer.from(head).toString("hex"))) continue;
    round.fail(ran.args, `"${key}" is sealed with a key that is not the project's`);
    return;
  }
}
