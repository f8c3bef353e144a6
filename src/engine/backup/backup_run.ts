/** What a backup is asked for, and what it holds while it works. */
import type { ChunkCache } from "../../cache/chunk_cache.ts";
import type { LeafCache } from "../../cache/leaf_cache.ts";
import type { Secret } from "../../codec/keys.ts";
import type { OpenManifest } from "../../project/manifests.ts";
import type { Project } from "../../project/project.ts";
import type { CondemnedObjects } from "../../project/sharing/condemned.ts";
import type { Lease } from "../../project/sharing/lease.ts";
import type { QuarantinedObjects } from "../../project/sharing/quarantine.ts";
import type { Source } from "../../sources/source.ts";
import type { EarlierPoints } from "../../volume/earlier_points.ts";
import type { PageCache } from "../../volume/page_cache.ts";
import type { ChunkResources } from "../../volume/resources.ts";
import type { SampleOptions } from "./source_sample.ts";

export interface BackupOptions {
  project: string;
  volume: string;
  source: Source;
  secrets: readonly Secret[];
  tags: string[];
  /** The point that an increment begins at, where its snapshot's name does not tell. */
  base?: string | undefined;
  /** Of a source that can be read anywhere: how much of what its differences leave out is compared with it. */
  checkSample?: SampleOptions | undefined;
  onProgress?: ((progress: BackupProgress) => void) | undefined;
}

export interface BackupProgress {
  /** Of the volume, once known. */
  sizeBytes: number | undefined;
  /** The offset of the volume that was reached. */
  position: number;
  streamBytes: number;
  newBytes: number;
  reusedBytes: number;
  zeroBytes: number;
}

/** What one backup holds while it works. */
export interface BackupRun {
  options: BackupOptions;
  project: Project;
  lease: Lease;
  condemned: CondemnedObjects;
  marked: QuarantinedObjects;
  resources: ChunkResources;
  cache: PageCache;
  chunkCache: ChunkCache | undefined;
  leafCache: LeafCache | undefined;
  /** The project held no chunk when the run began. */
  projectIsEmpty: boolean;
  /** The volume's newest backup when the run began, or the last one that the run has prepared. */
  latest: OpenManifest | undefined;
  /** Backups that are older than their dates say. */
  passedOver: readonly string[];
  earlier: EarlierPoints;
  /** By the store's clock. */
  startedMs: number;
  /** By this host's clock: when the run began, or its last point was prepared. */
  sinceMs: number;
}
