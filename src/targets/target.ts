/** Where a restored volume goes: a file, a block device or standard output. */
export interface Target {
  /** For messages. */
  readonly name: string;
  /** All its bytes are zero to begin with (a new or emptied file): zeros need not be written. */
  readonly empty: boolean;
  /** Bytes that can be read and compared with, from offset 0; 0 for standard output or an empty target. */
  readonly readableBytes: number;
  /** What becomes of a range that cannot be restored: it keeps what it holds, reads as zeros, or must not be. */
  readonly gaps: "kept" | "zeros" | "refused";
  /** The path, where it is a regular file. */
  readonly file: string | undefined;

  /** Fills `into` from `offset`. */
  read(offset: number, into: Uint8Array): Promise<void>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Makes the range read as zeros: by discarding where that is certain to give zeros, else by writing. */
  zero(offset: number, length: number): Promise<void>;
  /** Everything written is on stable storage once this resolves. */
  sync(): Promise<void>;
  /** After `sync`: what is read next comes from the device and not from memory. Throws where that cannot be had. */
  dropCache(): Promise<void>;
  close(): Promise<void>;
}
