/** A repository under attack, in a directory or in a bucket, as its attacker reaches it: past varve, key by key. */
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import fs from "node:fs";
import path from "node:path";
import { awsEnv, rootClient, type S3Server } from "../kit/s3_server.ts";

/** Objects by their keys. */
export type Objects = ReadonlyMap<string, Uint8Array>;

/** Requests under way at once, and keys in one deletion. */
const REQUESTS = 16, KEYS_AT_ONCE = 1000;

export interface Victim {
  /** What varve is told, and what it needs in its environment for that. */
  readonly url: string;
  readonly env: Record<string, string>;
  /** Where it is a directory; attacks on files need one. */
  readonly folder: string | undefined;
  keys(prefix: string): Promise<string[]>;
  /** `undefined` where nothing that can be read has that key. */
  read(key: string): Promise<Uint8Array | undefined>;
  /** `false` where the store does not take it. */
  write(key: string, bytes: Uint8Array): Promise<boolean>;
  remove(key: string): Promise<void>;
  /** Takes all of it away. */
  end(): Promise<void>;
}

export class DirectoryVictim implements Victim {
  readonly env = {};
  readonly url: string;
  readonly folder: string;

  constructor(folder: string) {
    this.url = folder;
    this.folder = folder;
  }

  async keys(prefix: string): Promise<string[]> {
    return [...filesBelow(this.folder)].filter((key) => key.startsWith(prefix)).sort();
  }

  async read(key: string): Promise<Uint8Array | undefined> {
    const file = path.join(this.folder, key);
    return attempt(() => fs.lstatSync(file).isFile() ? fs.readFileSync(file) : undefined);
  }

  async write(key: string, bytes: Uint8Array): Promise<boolean> {
    const file = path.join(this.folder, key);
    return attempt(() => {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      // As a new file: the old one may have another name elsewhere.
      fs.rmSync(file, { force: true, recursive: true });
      fs.writeFileSync(file, bytes);
      return true;
    }) ?? false;
  }

  async remove(key: string): Promise<void> {
    attempt(() => fs.rmSync(path.join(this.folder, key), { force: true, recursive: true }));
  }

  async end(): Promise<void> {
    fs.rmSync(this.folder, { force: true, recursive: true });
  }
}

/** Regular files below `root`, relative to it; links are not followed. */
export function* filesBelow(root: string, folder = ""): Generator<string> {
  for (const entry of attempt(() => fs.readdirSync(path.join(root, folder), { withFileTypes: true })) ?? []) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(root, name);
    else if (entry.isFile()) yield name;
  }
}

/** An earlier attack may stand in the way of a later one. */
export function attempt<T>(work: () => T): T | undefined {
  const expected = [
    "EEXIST",
    "EINVAL",
    "EISDIR",
    "ELOOP",
    "ENAMETOOLONG",
    "ENOENT",
    "ENOTDIR",
    "ENOTEMPTY",
    "EXDEV",
  ];
  try {
    return work();
  } catch (error) {
    if (!expected.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    return undefined;
  }
}

export class BucketVictim implements Victim {
  readonly folder = undefined;
  readonly url: string;
  readonly env: Record<string, string>;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(server: S3Server, prefix: string) {
    this.url = `s3://${server.bucket}/${prefix}`;
    this.env = awsEnv(server);
    this.#client = rootClient(server);
    this.#bucket = server.bucket;
    this.#prefix = `${prefix}/`;
  }

  /** Puts all of these there. */
  async fill(objects: Objects): Promise<void> {
    const left = [...objects];
    await Promise.all(Array.from({ length: REQUESTS }, async () => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) await this.write(...next);
    }));
  }

  async keys(prefix: string): Promise<string[]> {
    const keys: string[] = [];
    let token: string | undefined;
    do {
      const answer = await this.#client.send(
        new ListObjectsV2Command({
          Bucket: this.#bucket,
          Prefix: this.#prefix + prefix,
          ContinuationToken: token,
        }),
      );
      for (const { Key = "" } of answer.Contents ?? []) keys.push(Key.slice(this.#prefix.length));
      token = answer.NextContinuationToken;
    } while (token !== undefined);
    return keys;
  }

  async read(key: string): Promise<Uint8Array | undefined> {
    try {
      const { Body } = await this.#client.send(
        new GetObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + key }),
      );
      return await Body?.transformToByteArray();
    } catch {
      return undefined;
    }
  }

  async write(key: string, bytes: Uint8Array): Promise<boolean> {
    const request = { Bucket: this.#bucket, Key: this.#prefix + key, Body: bytes };
    return await this.#client.send(new PutObjectCommand(request)).then(() => true, () => false);
  }

  async remove(key: string): Promise<void> {
    await this.#delete([this.#prefix + key]);
  }

  async end(): Promise<void> {
    const keys = await this.keys("");
    for (let at = 0; at < keys.length; at += KEYS_AT_ONCE) {
      await this.#delete(keys.slice(at, at + KEYS_AT_ONCE).map((key) => this.#prefix + key));
    }
    this.#client.destroy();
  }

  async #delete(keys: string[]): Promise<void> {
    const request = { Bucket: this.#bucket, Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true } };
    await this.#client.send(new DeleteObjectsCommand(request)).catch(() => undefined);
  }
}
