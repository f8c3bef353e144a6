/**
 * zstd frames: by zstd-napi, which compresses into a given buffer; where its addon cannot be loaded (a temporary folder
 * that is mounted noexec, a cross-built file) by Bun's own zstd. Both write and read the same frames.
 */

export interface Zstd {
  readonly name: "zstd-napi" | "bun";
  /** Compresses `source` to the front of `target`; bytes written, or `undefined` where they do not fit. */
  compress(source: Uint8Array, target: Uint8Array, level: number): number | undefined;
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
  const decompressor = new binding.DCtx();
  return {
    name: "zstd-napi",
    compress(source, target, level) {
      compressor.setParameter(binding.CParameter.compressionLevel, level);
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
  compress(source, target, level) {
    const frame = Bun.zstdCompressSync(source as Uint8Array<ArrayBuffer>, { level });
    if (frame.length > target.length) return undefined;
    target.set(frame);
    return frame.length;
  },
  decompress(source, target) {
    const plain = Bun.zstdDecompressSync(source as Uint8Array<ArrayBuffer>);
    if (plain.length > target.length) throw new RangeError("the frame holds more than it may");
    target.set(plain);
    return plain.length;
  },
};
