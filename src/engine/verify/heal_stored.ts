/**
 * Healing from what is stored elsewhere, sealed: this host's caches, the same content under another key here, and another
 * repository of the project.
 */
import { openContent, sealObject } from "../../codec/seal.ts";
import { describeError, isUnreadable, VarveError } from "../../errors.ts";
import { equalBytes } from "../../util/bytes.ts";
import { chunkName, type ObjectRef, parseChunkName, parseManifestName } from "../../format/layout.ts";
import { decodeHeader, maxObjectBytes, OBJECT_TYPE, objectType } from "../../format/object.ts";
import { readManifest } from "../../project/manifests.ts";
import { openChunkCache } from "../../volume/caches.ts";
import { readTwice } from "../../project/read_twice.ts";
import type { Context } from "../../context.ts";
import type { Project } from "../../project/project.ts";
import { PageCache } from "../../volume/page_cache.ts";
import type { Healing, OpenObject } from "./healing.ts";

/** Chunks, patches and pages; what a patch is over comes first. */
export async function healFromStored(healing: Healing, context: Context): Promise<void> {
  const healer = new StoredHealer(healing, context);
  const objects = healing.objects();
  await healing.each(objects.filter(({ need }) => need.patch === undefined), (object) => healer.heal(object));
  await healing.each(objects.filter(({ need }) => need.patch !== undefined), (object) => healer.heal(object));
}

class StoredHealer {
  readonly #healing: Healing;
  readonly #context: Context;

  constructor(healing: Healing, context: Context) {
    this.#healing = healing;
    this.#context = context;
  }

  async heal(object: OpenObject): Promise<void> {
    const { project, other } = this.#healing.parts;
    const { ref } = object.need;
    if (await this.#put(object, () => this.#fromCache(object))) return;
    if (await this.#put(object, () => this.#fromAnotherKey(project, ref))) return;
    if (other === undefined) return;
    if (await this.#put(object, () => this.#read(other, ref))) return;
    await this.#put(object, () => this.#fromAnotherKey(other, ref));
  }

  /** Stores the bytes that `find` has, where they are an object of that name. */
  async #put(
    { finding: { key }, need: { ref } }: OpenObject,
    find: () => Promise<Uint8Array | undefined>,
  ): Promise<boolean> {
    const { project } = this.#healing.parts;
    const bytes = await find();
    if (bytes === undefined || !await this.#isThat(bytes, ref)) return false;
    return await this.#healing.heal(key, async () => {
      await project.put(chunkName(ref), bytes, this.#context);
      return true;
    });
  }

  async #isThat(bytes: Uint8Array, ref: ObjectRef): Promise<boolean> {
    return await unlessUnreadable(
      this.#healing.parts.project.check(bytes, chunkName(ref)).then(() => true),
    ) ??
      false;
  }

  /** The chunk cache has chunks and patches; the hash cache has the pages of each volume's newest point. */
  async #fromCache({ need: { ref, keys, pages } }: OpenObject): Promise<Uint8Array | undefined> {
    const { project } = this.#healing.parts;
    const name = chunkName(ref);
    if (pages.length === 0) return await openChunkCache(project, this.#context)?.get(name);
    for (const { volume, page } of distinct(pages)) {
      await using cache = await PageCache.open({ project, volume }, this.#context);
      const entries = await cache.find(page, ref, keys);
      if (entries === undefined) continue;
      return sealObject({ type: OBJECT_TYPE.page, name, content: entries.encode() }, keys);
    }
    return undefined;
  }

  async #read(from: Project, ref: ObjectRef): Promise<Uint8Array | undefined> {
    const name = chunkName(ref);
    return await unlessUnreadable(
      readTwice(async () => {
        const range = { offset: 0, length: maxObjectBytes(OBJECT_TYPE.chunk) + 1 };
        const bytes = await from.get(name, { ...this.#context, range });
        await from.check(bytes, name);
        return bytes;
      }),
      (error) =>
        this.#context.log.debug(
          { key: from.objectKey(name) },
          `cannot repair from it: ${describeError(error)}`,
        ),
    );
  }

  /** The same content may be stored under the plain key, and under those of leases that met a gc plan. */
  async #fromAnotherKey(from: Project, ref: ObjectRef): Promise<Uint8Array | undefined> {
    const name = chunkName(ref);
    const prefix = chunkName({ id: ref.id, lease: undefined });
    for await (const found of from.list(prefix, this.#context)) {
      const there = parseChunkName(found.name);
      if (there === undefined || found.name === name || !equalBytes(there.id, ref.id)) continue;
      const bytes = await this.#read(from, there);
      if (bytes !== undefined) return await reseal(from, { bytes, from: found.name, to: name });
    }
    return undefined;
  }
}

/** Sections are sealed under the object's name: it is opened, and sealed under the other. */
async function reseal(
  project: Project,
  { bytes, from, to }: { bytes: Uint8Array; from: string; to: string },
): Promise<Uint8Array> {
  const object = { type: objectType(bytes), name: from };
  const named = { ...object, key: project.objectKey(from) };
  const keys = await project.keyOf(bytes, object);
  const hasFront = decodeHeader(bytes, named).frontBytes > 0;
  const front = hasFront ? await project.front(bytes, object) : new Uint8Array(0);
  return sealObject({ type: object.type, name: to, front, content: openContent(bytes, named, keys) }, keys);
}

/** Manifests that are here and cannot be read: as the other repository has them. */
export async function healManifests(healing: Healing, context: Context): Promise<void> {
  const { project, other, lease } = healing.parts;
  if (other === undefined) return;
  const { signal } = context;
  for (const { key } of [...healing.open.values()]) {
    const name = project.nameOf(key);
    const place = parseManifestName(name);
    if (place === undefined || healing.parts.healed.has(key)) continue;
    const isReadable = async (from: Project) =>
      await unlessUnreadable(readManifest(from, place, context)) !==
        undefined;
    if (!await isReadable(other)) continue;
    const bytes = await other.fetch({ type: OBJECT_TYPE.manifest, name }, { signal });
    await project.check(bytes, name);
    const isHealed = await isReadable(project);
    // One that was forgotten meanwhile must not come back.
    if (!isHealed && await project.head(name, { signal }) === undefined) continue;
    if (!isHealed) await lease.send((options) => project.put(name, bytes, { ...options, signal }));
    if (!await isReadable(project)) continue;
    healing.open.delete(key);
    (isHealed ? healing.recovered : healing.healed).push(key);
  }
}

/** Each volume and page once: points share pages. */
function distinct<T extends { volume: string; page: number }>(places: readonly T[]): T[] {
  return [...new Map(places.map((place) => [`${place.volume}/${place.page}`, place])).values()];
}

/** A damaged header may name another format, or a key that is not this secret's. */
function isForeign(error: unknown): boolean {
  return error instanceof VarveError && (error.code === "format_version" || error.code === "wrong_secret");
}

async function unlessUnreadable<T>(
  work: Promise<T>,
  onError: (error: unknown) => void = () => {},
): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (!isUnreadable(error) && !isForeign(error)) throw error;
    onError(error);
    return undefined;
  }
}
