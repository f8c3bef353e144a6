/** Volumes that are backed up with `rbd:…` as their source, and `rbd` held up where a test wants to act meanwhile. */
import { expect } from "bun:test";
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { messages } from "./log.ts";
import type { VarveOptions } from "./varve.ts";
import type { RbdImage } from "./rbd_image.ts";
import type { Sum, Workbench } from "./workbench.ts";

/** What the program calls its own snapshots. */
export const OWN_NAME = /^varve-[0-9a-f]{8}-\d{8}T\d{9}Z-[0-9a-f]{4}$/;

export interface Backed {
  report: BackupReport;
  /** The messages of the log. */
  warnings: string[];
}

export class SourceVolume {
  readonly image: RbdImage;
  /** PROJECT/VOLUME. */
  readonly name: string;
  readonly repository: Workbench;
  readonly #points = new Map<string, Sum>();

  constructor(repository: Workbench, { image, name }: { image: RbdImage; name: string }) {
    this.repository = repository;
    this.image = image;
    this.name = `acme/${name}`;
  }

  /** The words of a backup; without a snapshot the program makes one. */
  words(snapshot?: string, ...args: string[]): string[] {
    const at = snapshot === undefined ? "" : `@${snapshot}`;
    return ["backup", this.name, `rbd:${this.image.spec}${at}`, "--json", ...args];
  }

  /** A backup that has to succeed; the point has to be as `rbd export` gives its snapshot. */
  async backUp(snapshot?: string, args: string[] = [], options: VarveOptions = {}): Promise<Backed> {
    return await this.expectBacked(await this.repository.run(this.words(snapshot, ...args), options));
  }

  /** What a run printed has to be of a backup, the snapshot of which is still there. */
  async expectBacked(
    { code, stdout, stderr }: { code: number | null; stdout: string; stderr: string },
  ): Promise<Backed> {
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    const report: BackupReport = JSON.parse(stdout);
    const sum = await this.image.exported(report.to_snapshot as string);
    this.#points.set(report.backup, sum);
    expect(await this.repository.restoreToPipe(`${this.name}@${report.backup}`)).toEqual(sum);
    return { report, warnings: messages(stderr) };
  }

  /** All points are those that were made, and hold what their snapshots held then. */
  async assertPoints(): Promise<void> {
    const listed = await this.repository.list(this.name);
    expect(listed.map(({ backup }) => backup)).toEqual([...this.#points.keys()]);
    for (const [backup, sum] of this.#points) {
      expect(await this.repository.restoreToPipe(`${this.name}@${backup}`)).toEqual(sum);
    }
  }
}

/** When an export waits: before it begins, when a tenth of a MiB was passed on, or before it ends, when all was. */
export type HoldAt = "before" | "while" | "after";

/** An `rbd` for PATH that waits in its export. */
export class HeldRbd {
  readonly env: Record<string, string>;
  readonly #folder: string;

  constructor(folder: string, at: HoldAt) {
    this.#folder = folder;
    mkdirSync(folder);
    writeFileSync(join(folder, "hold"), "");
    const wait = `touch '${folder}/reading'; while [ -e '${folder}/hold' ]; do sleep 0.05; done`;
    const rbd = Bun.which("rbd");
    const run = {
      before: `${wait}; exec ${rbd} "$@"`,
      while: `set -o pipefail; ${rbd} "$@" | { head -c 100000; ${wait}; cat; }; exit`,
      after: `${rbd} "$@" || exit; ${wait}; exit`,
    }[at];
    writeFileSync(join(folder, "rbd"), `#!/bin/bash\ncase $1 in export*) ${run};; esac\nexec ${rbd} "$@"\n`);
    chmodSync(join(folder, "rbd"), 0o755);
    this.env = { PATH: `${folder}:${process.env.PATH}` };
  }

  /** Resolves once an export waits. */
  async reading(): Promise<void> {
    while (!existsSync(join(this.#folder, "reading"))) await Bun.sleep(20);
  }

  letGo(): void {
    rmSync(join(this.#folder, "hold"));
  }
}
