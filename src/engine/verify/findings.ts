/** What a verify found, and which restore points it concerns. */
import { DamageError, MissingError } from "../../errors.ts";
import { toHex } from "../../format/bytes.ts";
import { type Place, refsOf } from "../../format/entries.ts";
import { chunkName, manifestName, type ObjectRef } from "../../format/layout.ts";
import { PAGE_CHUNKS } from "../../format/limits.ts";
import type { OpenManifest } from "../catalog.ts";
import type { Context } from "../context.ts";
import { noLocalPages, readPage } from "../page_table.ts";
import type { Project } from "../project.ts";
import { manifests, type ManifestScope } from "../gc/references.ts";

/** Positions that are told of one point; more are only counted. */
const MAX_POSITIONS = 100;

export interface Finding {
  kind: "missing" | "damaged";
  /** Of the object in the store. */
  key: string;
  reason: string;
  /** Of a block patch: the id of the chunk that it makes, and the key of the whole chunk that it is over. */
  patch?: { chunk: string; base: string } | undefined;
  /** The restore points that need it. */
  places: FindingPlace[];
}

export interface FindingPlace {
  volume: string;
  backup: string;
  /** How many chunks of the volume it concerns; all of them for a manifest. */
  chunks: number;
  /** The first of them, as positions of the volume in chunks. */
  positions: number[];
}

/**
 * Walks over the manifests once more and says for each finding what it concerns; one that concerns nothing any more is
 * left out. Costs nothing without findings.
 */
export async function locateFindings(
  project: Project,
  { findings, scope }: { findings: ReadonlyMap<string, Finding>; scope: ManifestScope },
  context: Context,
): Promise<Finding[]> {
  if (findings.size === 0) return [];
  for await (const manifest of manifests(project, { scope, onDamage: () => {} }, context)) {
    for (let page = 0; page < manifest.pages.length; page++) {
      const ref = manifest.pages.get(page)?.object;
      if (ref !== undefined) await locateInPage(project, { manifest, page, ref, findings }, context);
    }
  }
  for (const finding of findings.values()) locateManifest(project, finding);
  // What no point needs by now was forgotten, and swept, while it was looked for.
  const needed = [...findings.values()].filter(({ places }) => places.length > 0);
  return needed.sort((a, b) => a.key < b.key ? -1 : 1);
}

async function locateInPage(
  project: Project,
  at: { manifest: OpenManifest; page: number; ref: ObjectRef; findings: ReadonlyMap<string, Finding> },
  context: Context,
): Promise<void> {
  const { manifest, page, ref, findings } = at;
  const total = Math.ceil(manifest.info.size_bytes / manifest.info.chunk_bytes);
  const first = page * PAGE_CHUNKS;
  const count = Math.min(PAGE_CHUNKS, total - first);
  const note = (finding: Finding | undefined, position: number, chunks: number) => {
    if (finding !== undefined) addPlace(finding, { manifest, position, chunks });
  };
  note(findings.get(project.key(chunkName(ref))), first, count);
  try {
    const entries = await readPage(page, ref, {
      project,
      key: manifest.key,
      local: noLocalPages,
      signal: context.signal,
    });
    for (let i = 0; i < count; i++) {
      const entry = entries.get(i);
      for (const ref of entry === undefined ? [] : refsOf(entry)) {
        const finding = findings.get(project.key(chunkName(ref)));
        note(finding, first + i, 1);
        if (finding !== undefined && ref === entry!.object) finding.patch = patchOf(project, entry!);
      }
    }
  } catch (error) {
    if (!(error instanceof DamageError || error instanceof MissingError)) throw error; // else it is a finding itself
  }
}

function patchOf(project: Project, { id, base }: Place): Finding["patch"] {
  return base && { chunk: toHex(id), base: project.key(chunkName(base)) };
}

function addPlace(finding: Finding, at: { manifest: OpenManifest; position: number; chunks: number }): void {
  const { volume, backup } = at.manifest.info;
  let place = finding.places.find((place) => place.volume === volume && place.backup === backup);
  if (place === undefined) finding.places.push(place = { volume, backup, chunks: 0, positions: [] });
  place.chunks += at.chunks;
  if (place.positions.length < MAX_POSITIONS) place.positions.push(at.position);
}

/** A manifest that cannot be read concerns the whole point. */
function locateManifest(project: Project, finding: Finding): void {
  const name = finding.key.slice(project.key("").length);
  const slash = name.lastIndexOf("/");
  const volume = name.slice(name.indexOf("/") + 1, slash);
  const backup = name.slice(slash + 1);
  if (name === manifestName(volume, backup)) {
    finding.places.push({ volume, backup, chunks: 0, positions: [] });
  }
}
