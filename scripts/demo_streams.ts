/** Unpacks the recorded streams of the demo into a folder, and says there what each point has to be. */
import { join } from "node:path";

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: demo_streams.ts FOLDER");
const FIXTURES = join(import.meta.dirname, "../test/fixtures/rbd");

interface Chain {
  name: string;
  streams: { file: string; points: { snapshot: string; size_bytes: number; sha256: string }[] }[];
}

const index = await Bun.file(`${FIXTURES}/index.json`).json() as { chains: Chain[] };
const { streams } = index.chains.find(({ name }) => name === "demo")!;
const points: string[] = [];
for (const [night, { file, points: [point] }] of streams.entries()) {
  const packed = await Bun.file(`${FIXTURES}/${file}`).bytes();
  await Bun.write(`${folder}/night-${night + 1}.diff`, Bun.zstdDecompressSync(packed));
  points.push(`${point!.snapshot} ${point!.size_bytes} ${point!.sha256}`);
}
await Bun.write(`${folder}/points`, points.join("\n") + "\n");
