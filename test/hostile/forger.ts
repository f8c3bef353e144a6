/**
 * Makes objects of the project that is not encrypted, whose key lies in the store: sealed as they should be, whatever
 * they say. docs/format.md, "Objects".
 */
import { createCipheriv, createHmac } from "node:crypto";
import type { ProjectKeys } from "../../src/codec/keys.ts";
import { openRepository } from "../../src/project/repository.ts";
import { openProject } from "../../src/project/open_project.ts";
import type { Project } from "../../src/project/project.ts";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import { parseManifestName, VOLUMES_PREFIX } from "../../src/format/layout.ts";
import { FORMAT_VERSION } from "../../src/format/limits.ts";
import { OBJECT_TYPE, type ObjectType } from "../../src/format/object.ts";
import { DirectoryStore } from "../../src/store/directory/directory.ts";
import { testContext } from "../kit/engine.ts";
import { le32 } from "../kit/rbd_stream.ts";

export const OPEN_PROJECT = "open";
const NONCE_BYTES = 12;

export interface Forged {
  type: ObjectType;
  /** The key without its project. */
  name: string;
  front?: Uint8Array;
  /** As it is stored: where `isFrame`, it is a frame of zstd. */
  content: Uint8Array;
  isFrame?: boolean;
  /** What the header says of the content in plain; the truth if left out. */
  plainBytes?: number;
}

export interface SampleManifest {
  name: string;
  volume: string;
  backup: string;
  info: Record<string, unknown>;
  /** The content: its pages. */
  pages: Uint8Array;
}

export class Forger {
  readonly key: ProjectKeys;
  /** Those that the project has. */
  readonly manifests: readonly SampleManifest[];

  private constructor(key: ProjectKeys, manifests: readonly SampleManifest[]) {
    this.key = key;
    this.manifests = manifests;
  }

  /** Reads what is needed from the repository in `folder`. */
  static async open(folder: string): Promise<Forger> {
    const context = testContext();
    const repository = await openRepository(new DirectoryStore(folder), context);
    const project = await openProject(repository, { name: OPEN_PROJECT, secrets: [] }, context);
    const listed = await Array.fromAsync(project.list(VOLUMES_PREFIX, context));
    return new Forger(
      project.firstKey,
      await Promise.all(listed.map(({ name }) => readManifest(project, name))),
    );
  }

  /** The bytes to be stored under `projects/open/<name>`. */
  seal({ type, name, front = new Uint8Array(), content, isFrame = false, plainBytes }: Forged): Uint8Array {
    const sealedFront = front.length === 0 ? 0 : front.length + NONCE_BYTES + 16;
    const header = Buffer.concat([
      utf8("varve"),
      new Uint8Array([FORMAT_VERSION, type, isFrame ? 1 : 0]),
      this.key.id,
      le32(sealedFront),
      le32(content.length + NONCE_BYTES + 16),
      le32(plainBytes ?? content.length),
      le32(0),
    ]);
    const section = (part: number, plain: Uint8Array) => {
      const key = createHmac("sha256", this.key.dataKey).update(new Uint8Array([part])).update(name).digest();
      const nonce = new Uint8Array(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(header);
      return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    };
    const sections = front.length === 0 ? [] : [section(0, front)];
    return new Uint8Array(Buffer.concat([header, ...sections, section(1, content)]));
  }
}

async function readManifest(project: Project, name: string): Promise<SampleManifest> {
  const object = { type: OBJECT_TYPE.manifest, name };
  const { bytes, content } = await project.readOnce(object, {});
  const info = JSON.parse(fromUtf8(await project.front(bytes, object))!) as Record<string, unknown>;
  return { name, ...parseManifestName(name)!, info, pages: content };
}

/** A frame of zstd that is `sizeBytes` zeros in plain, four bytes for each 128 KiB (RFC 8878). */
export function frameOfZeros(sizeBytes: number): Uint8Array {
  const most = 128 * 1024;
  const blocks: number[] = [];
  for (let left = sizeBytes; left > 0 || blocks.length === 0; left -= most) {
    const length = Math.min(left, most);
    const header = (length << 3) | 2 | (left <= most ? 1 : 0); // a run of one byte; the last one
    blocks.push(header & 0xff, (header >> 8) & 0xff, (header >> 16) & 0xff, 0);
  }
  return new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 0xa0, ...le32(sizeBytes), ...blocks]);
}
