/**
 * zstd frames: by zstd-napi, which compresses into a given buffer; where its addon cannot be loaded (a system
 * that allows no code in memory, a cross-built file) by Bun's own zstd. Both write and read the same frames.
 */

/**
 * Level 2, but matches are sought in a whole chunk, through a table of twice the entries: a quarter less time than level 3
 * for 3 % more bytes (docs/performance.md).
 */
const PARAMETERS = { compressionLevel: 2, windowLog: 22, hashLog: 17 } as const;
/** Bun's takes a level and nothing else; this one packs as tight. */
const BUN_LEVEL = 3;

export interface Zstd {
  readonly name: "zstd-napi" | "bun";
  /** Compresses `source` to the front of `target`; bytes written, or `undefined` where they do not fit. */
  compress(source: Uint8Array, target: Uint8Array): number | undefined;
  /** Decompresses one frame to the front of `target`; bytes written. Throws where it is damaged or does not fit. */
  decompress(source: Uint8Array, target: Uint8Array): number;
}

let loaded: Zstd | undefined;

export function zstd(): Zstd {
  return loaded ??= loadAddon() ?? bunZstd;
}

function loadAddon(): Zstd | undefined {
  try {
    // A literal require: the build embeds the addon that it names.
    const binding = require("zstd-napi/binding") as typeof import("zstd-napi/binding");
    return typeof binding.CCtx === "function" ? addonZstd(binding) : undefined;
  } catch {
    return undefined;
  }
}

function addonZstd(binding: typeof import("zstd-napi/binding")): Zstd {
  const compressor = new binding.CCtx();
  for (const [name, value] of Object.entries(PARAMETERS)) {
    compressor.setParameter(binding.CParameter[name as keyof typeof PARAMETERS], value);
  }
  const decompressor = new binding.DCtx();
  return {
    name: "zstd-napi",
    compress(source, target) {
      try {
        return compressor.compress2(target, source);
      } catch (error) {
        if (error instanceof Error && /too small/i.test(error.message)) return undefined;
        throw error;
      }
    },
    decompress: (source, target) => decompressor.decompress(target, source),
  };
}

export const bunZstd: Zstd = {
  name: "bun",
  compress(source, target) {
    const frame = Bun.zstdCompressSync(source as Uint8Array<ArrayBuffer>, { level: BUN_LEVEL });
    if (frame.length > target.length) return undefined;
    target.set(frame);
    return frame.length;
  },
  decompress(source, target) {
    const plain = Bun.zstdDecompressSync(source as Uint8Array<ArrayBuffer>);
    if (plain.length > target.length) throw new RangeError("the frame is larger than expected");
    target.set(plain);
    return plain.length;
  },
};
