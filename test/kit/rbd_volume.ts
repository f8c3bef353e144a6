/** An image of a real cluster whose snapshots are backed up by the built program, one after the other. */
import { expect } from "bun:test";
import { rm } from "node:fs/promises";
import { snapshotToJson } from "../../src/format/snapshot_name.ts";
import type { TestRecord } from "./rbd_stream.ts";
import { VARVE_BIN } from "./varve.ts";
import { type ImageOptions, RbdImage, shell, shellWords, type Word } from "./rbd_image.ts";
import type { Sum, Workbench } from "./workbench.ts";

/** What a restore has to give. */
interface Expected {
  snapshot: Word | undefined;
  sum: Sum;
}

export interface Night {
  changes?: TestRecord[];
  /** The image's new size. */
  sizeBytes?: number;
  /** More arguments of `rbd export-diff`. */
  exportArgs?: string[];
}

export class RbdVolume {
  readonly image: RbdImage;
  /** PROJECT/VOLUME. */
  readonly name: string;
  readonly #repository: Workbench;
  readonly #points: Expected[] = [];

  constructor(image: RbdImage, { name, repository }: { name: string; repository: Workbench }) {
    this.image = image;
    this.name = `acme/${name}`;
    this.#repository = repository;
  }

  static async create(
    repository: Workbench,
    { name, ...options }: ImageOptions & { name: string },
  ): Promise<RbdVolume> {
    return new RbdVolume(await RbdImage.create(repository.env, options), { name, repository });
  }

  /** Changes the image, takes the snapshot, and backs up what changed since the night before. */
  async night(snapshot: Word, { changes = [], sizeBytes, exportArgs = [] }: Night = {}): Promise<void> {
    await this.image.change(changes, sizeBytes);
    await this.image.snapshot(snapshot);
    const from = this.#points.at(-1)?.snapshot;
    await this.pipe(this.image.exportDiff({ from, to: snapshot }, ...exportArgs));
    await this.expectPoint(snapshot);
  }

  /** `PRODUCER | varve backup`, as a script has it, with more arguments. */
  async pipe(producer: Word[], args: string[] = []): Promise<void> {
    const line = `${shellWords(producer)} | ${shellWords([VARVE_BIN, "backup", this.name, ...args])}`;
    await shell(line, { env: this.#repository.env });
  }

  /** The newest backups have to be of these snapshots of the image, or of its head. */
  async expectPoint(...snapshots: (Word | undefined)[]): Promise<void> {
    for (const snapshot of snapshots) {
      this.#points.push({ snapshot, sum: await this.image.exported(snapshot) });
    }
  }

  /** Restores every point to a new file and in place over the point before, and the latest one to a pipe. */
  async assertPoints(): Promise<void> {
    const backups = await this.#repository.list(this.name);
    expect(backups.map(({ to_snapshot }) => to_snapshot))
      .toEqual(this.#points.map(({ snapshot }) => snapshotToJson(asBytes(snapshot))));
    const [file, inPlace] = ["new", "in-place"].map((name) => this.#repository.path(name)) as [
      string,
      string,
    ];
    for (const [at, { sum }] of this.#points.entries()) {
      const point = `${this.name}@${backups[at]!.backup}`;
      const restored = [file, inPlace].map((to) => this.#repository.restoreToFile(point, to));
      expect(await Promise.all(restored)).toEqual([sum, sum]);
      await rm(file);
    }
    expect(await this.#repository.restoreToPipe(this.name)).toEqual(this.#points.at(-1)!.sum);
    await rm(inPlace);
  }
}

function asBytes(word: Word | undefined): Uint8Array | undefined {
  return typeof word === "string" ? new Uint8Array(Buffer.from(word)) : word;
}
