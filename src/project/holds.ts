/** Holds: small objects beside the manifests, each of which keeps one backup from being forgotten. */
import { MissingError } from "../errors.ts";
import { decodeDocument, encodeDocument, orNull, record, text } from "../format/document.ts";
import * as field from "../format/fields.ts";
import { holdName, holdsPrefix } from "../format/layout.ts";
import { MAX_REASON_BYTES } from "../format/limits.ts";
import { OBJECT_TYPE } from "../format/object.ts";
import type { Context } from "../context.ts";
import { listTwice } from "./list_twice.ts";
import type { PointRef } from "./point_ref.ts";
import type { Project } from "./project.ts";
import { assertStored } from "./stored.ts";

/** What a hold's object holds. */
interface HoldContent {
  /** What the operator said. */
  reason: string | null;
  host: string;
}

const readContent = record<HoldContent>({
  reason: orNull(text({ most: MAX_REASON_BYTES })),
  host: field.host,
});

/** Which backups of a project, or of one volume, are held. */
export class Holds {
  readonly #names: ReadonlySet<string>;

  private constructor(names: ReadonlySet<string>) {
    this.#names = names;
  }

  /** Whatever has a hold's name is a hold, so that damage to one never lets a backup go. */
  static async read(project: Project, volume: string | undefined, { signal }: Context): Promise<Holds> {
    return new Holds(
      new Set(await Array.fromAsync(project.list(holdsPrefix(volume), { signal }), ({ name }) => name)),
    );
  }

  /** For whoever drops what is not held: listed twice, for one listing may be short. */
  static async readTwice(project: Project, volume: string | undefined, context: Context): Promise<Holds> {
    const listed = await listTwice(project, holdsPrefix(volume), context);
    return new Holds(new Set(listed.map(({ name }) => name)));
  }

  has({ volume, backup }: PointRef): boolean {
    return this.#names.has(holdName(volume, backup));
  }
}

/** The hold of one backup, or `undefined`. Throws `DamageError`. */
export async function readHold(
  project: Project,
  { volume, backup }: PointRef,
  { signal }: Context,
): Promise<HoldContent | undefined> {
  const name = holdName(volume, backup);
  try {
    const { content } = await project.read({ type: OBJECT_TYPE.hold, name }, { signal });
    return decodeDocument(content, { key: project.objectKey(name), read: readContent });
  } catch (error) {
    if (error instanceof MissingError) return undefined;
    throw error;
  }
}

export async function writeHold(
  project: Project,
  { volume, backup, reason }: PointRef & { reason: string | null },
  { signal, host }: Context,
): Promise<void> {
  const name = holdName(volume, backup);
  const content: HoldContent = { reason, host };
  const object = {
    type: OBJECT_TYPE.hold,
    name,
    content: encodeDocument(content, { key: project.objectKey(name), read: readContent }),
  };
  await project.write(object, { signal, keys: project.firstKey });
  await assertStored(project, object.name, { signal });
}
