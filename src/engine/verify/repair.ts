/**
 * Repair: verify, then heal what is missing or damaged, from another repository of the same project or from a device or
 * image that still holds the content, by hash. What cannot be healed is set aside, so that the next backup which has the
 * same content stores it again.
 */
import { hostname } from "node:os";
import { DamageError, describeError, MissingError } from "../../errors.ts";
import { toHex } from "../../format/bytes.ts";
import { chunkName, CHUNKS_PREFIX, type ObjectRef, parseChunkName } from "../../format/layout.ts";
import type { Source } from "../../source/source.ts";
import type { ChunkBuffer } from "../../pool/chunk_pool.ts";
import type { Store } from "../../store/store.ts";
import { LeafReader } from "../chunks/leaves.ts";
import { ChunkWorkshop, OPEN_CHUNKS } from "../chunks/workshop.ts";
import { type Patch, patchOver, sealChunk } from "../chunks/write_chunk.ts";
import { cutChunks } from "../backup/chunker.ts";
import type { Context } from "../context.ts";
import type { Finding } from "./findings.ts";
import { Lease } from "../gc/lease.ts";
import { openProject, type Project, type Secret } from "../project.ts";
import type { Repository } from "../repository.ts";
import { asideName } from "./set_aside.ts";
import { verify } from "./verify.ts";
import { Window } from "../window.ts";

export interface RepairOptions {
  project: string;
  volume?: string | undefined;
  secret: Secret;
  /** A device or image that may still hold the content. */
  source?: Source | undefined;
  /** Another repository's store. */
  fromStore?: Store | undefined;
}

/** The JSON of `varve repair`. */
export interface RepairReport {
  project: string;
  /** Keys of what is whole again. */
  healed: string[];
  /** Keys of what is not: chunks of it are set aside. */
  left: { key: string; kind: Finding["kind"]; reason: string }[];
  duration_s: number;
}

/** Heals what it can. Throws only what stops the work; what is left is in the report. */
export async function repair(
  repository: Repository,
  options: RepairOptions,
  context: Context,
): Promise<RepairReport> {
  const startedMs = context.clock.now();
  const { project: name, volume, secret } = options;
  const project = await openProject(repository, { name, secret, create: false }, context);
  const work = { work: "repair" as const, volume: volume ?? name, host: hostname(), key: project.firstKey };
  const lease = await Lease.begin(project, work, context);
  try {
    const { findings } = await verify(
      repository,
      { project: name, volume, secret, sample: { kind: "all" } },
      context,
    );
    const open = new Map(findings.map((finding) => [finding.key, finding]));
    const healed: string[] = [];
    if (options.fromStore !== undefined) {
      healed.push(...await healFromStore(project, { open, from: options.fromStore }, context));
    }
    if (options.source !== undefined) {
      healed.push(...await healFromSource(project, { open, source: options.source }, context));
    }
    for (const finding of open.values()) await setAside(project, finding, context);
    const left = [...open.values()].map(({ key, kind, reason }) => ({ key, kind, reason }));
    return { project: name, healed, left, duration_s: (context.clock.now() - startedMs) / 1000 };
  } finally {
    await lease.end();
  }
}

/** Objects are sealed under their name: the other repository's bytes are checked, and put as they are. */
async function healFromStore(
  project: Project,
  { open, from }: { open: Map<string, Finding>; from: Store },
  context: Context,
): Promise<string[]> {
  const healed: string[] = [];
  for (const { key } of [...open.values()]) {
    const bytes = await wholeObject(project, { key, from }, context);
    if (bytes === undefined) continue;
    await project.store.put(key, bytes, { signal: context.signal });
    open.delete(key);
    healed.push(key);
  }
  return healed;
}

/** The other repository's object, if it has it whole. */
async function wholeObject(
  project: Project,
  { key, from }: { key: string; from: Store },
  context: Context,
): Promise<Uint8Array | undefined> {
  try {
    const bytes = await from.get(key, { signal: context.signal });
    await project.check(bytes, key.slice(project.key("").length));
    return bytes;
  } catch (error) {
    if (!(error instanceof DamageError || error instanceof MissingError)) throw error;
    context.log.warn({ key }, `the other repository cannot help: ${describeError(error)}`);
    return undefined;
  }
}

/** Every chunk of the source is hashed; one that is wanted goes up again, wherever it lies in the source. */
async function healFromSource(
  project: Project,
  { open, source }: { open: Map<string, Finding>; source: Source },
  context: Context,
): Promise<string[]> {
  const wanted = wantedChunks(project, open);
  const healed: string[] = [];
  const workshop = new ChunkWorkshop({ chunkBytes: project.chunkBytes, from: "stream" }, context);
  const window = new Window(workshop.window);
  const chunker = {
    chunkBytes: project.chunkBytes,
    buffers: workshop.chunks,
    maxOpen: OPEN_CHUNKS,
    rebuild: [],
  };
  try {
    for await (const diff of source.diffs()) {
      for await (const piece of cutChunks(diff, chunker)) {
        if (piece.kind === "zeros") continue;
        await window.add(async () => {
          try {
            const id = await workshop.pool.hash(piece, project.firstKey.idKey);
            for (const object of id === undefined ? [] : wanted.get(toHex(id)) ?? []) {
              if (!await storeAgain(project, { piece, object, workshop }, context)) continue;
              const key = project.key(chunkName(object.ref));
              if (open.delete(key)) healed.push(key);
            }
          } finally {
            piece.buffer.release();
          }
        });
      }
    }
    await window.drain();
  } finally {
    await window.settle();
    await workshop.close();
  }
  return healed;
}

/** An object that is to be stored again: a whole chunk, or a patch over the chunk at `base`. */
interface WantedObject {
  ref: ObjectRef;
  base: ObjectRef | undefined;
}

/** False where it is a patch, and what it is over cannot be read. */
async function storeAgain(
  project: Project,
  { piece, object, workshop }: { piece: ChunkBuffer; object: WantedObject; workshop: ChunkWorkshop },
  context: Context,
): Promise<boolean> {
  const patch = object.base && await patchAgain(project, { piece, base: object.base }, context);
  if (object.base !== undefined && patch === undefined) return false;
  const sealed = await workshop.sealed.acquire();
  // The content may be wanted under another key too: its buffer is kept.
  const chunk = { length: piece.length, buffer: { bytes: piece.buffer.bytes, release: () => {} } };
  const options = { project, keys: project.firstKey, workshop, sealed, patch, signal: context.signal };
  try {
    await sealChunk(chunk, object.ref, options);
    return true;
  } finally {
    sealed.release();
  }
}

async function patchAgain(
  project: Project,
  { piece: chunk, base }: { piece: ChunkBuffer; base: ObjectRef },
  { signal, log }: Context,
): Promise<Patch | undefined> {
  try {
    const leaves = await new LeafReader({ project, cache: undefined }, signal).get(base, chunk);
    return patchOver(base, { chunk, leaves, chunkBytes: project.chunkBytes });
  } catch (error) {
    if (!(error instanceof DamageError || error instanceof MissingError)) throw error;
    log.warn({ key: error.key }, `cannot heal a patch over it: ${describeError(error)}`);
    return undefined;
  }
}

/** By the id of their content in hex: a content may be wanted under more than one key. */
function wantedChunks(project: Project, open: ReadonlyMap<string, Finding>): Map<string, WantedObject[]> {
  const wanted = new Map<string, WantedObject[]>();
  const refOf = (key: string) => parseChunkName(key.slice(project.key("").length));
  for (const { key, patch } of open.values()) {
    const ref = refOf(key);
    if (ref === undefined) continue;
    const content = patch?.chunk ?? toHex(ref.id);
    wanted.set(content, [...wanted.get(content) ?? [], { ref, base: patch && refOf(patch.base) }]);
  }
  return wanted;
}

/** The copy comes first: at every moment the bytes are somewhere. */
async function setAside(project: Project, { key }: Finding, { signal }: Context): Promise<void> {
  const name = key.slice(project.key("").length);
  if (!name.startsWith(CHUNKS_PREFIX)) return;
  const bytes = await project.store.get(key, { signal }).catch((error) => {
    if (!(error instanceof MissingError)) throw error;
  });
  await project.store.put(project.key(asideName(name)), bytes ?? new Uint8Array(0), { signal });
  if (bytes !== undefined) await project.store.delete([key], { signal });
}
