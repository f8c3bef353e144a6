/** Where a restored volume goes: a file, a block device or standard output. */
export interface Target {
  /** For messages. */
  readonly name: string;
  /** All its bytes are zero to begin with (a new or emptied file): zeros need not be written. */
  readonly empty: boolean;
  /** Bytes that can be read and compared with, from offset 0; 0 for standard output or an empty target. */
  readonly readableBytes: number;
  /** Writes must ascend without gaps (standard output). */
  readonly sequential: boolean;

  /** Fills `into` from `offset`. */
  read(offset: number, into: Uint8Array): Promise<void>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Makes the range read as zeros: by discarding where that is certain to give zeros, else by writing. */
  zero(offset: number, length: number): Promise<void>;
  /** Everything written is on stable storage once this resolves. */
  sync(): Promise<void>;
  close(): Promise<void>;
}
