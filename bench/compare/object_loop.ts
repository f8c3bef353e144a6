/**
 * A plain loop that sends every file below a folder to a bucket, or gets every object of it, over several connections:
 * what a program can reach that does nothing else. `object_loop.ts put ENDPOINT BUCKET FOLDER`, `… get ENDPOINT BUCKET`;
 * keys from the environment as for the AWS tools.
 */
import { Glob, S3Client } from "bun";

/** As many as varve uses by default. */
const CONNECTIONS = 6;

const [action, endpoint = "", bucket = "", folder = ""] = process.argv.slice(2);
const client = new S3Client({ endpoint, bucket, region: "us-east-1" });
const keys = action === "put"
  ? Array.fromAsync(new Glob("**").scan({ cwd: folder, onlyFiles: true }))
  : list();
const left = (await keys).values();
await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
  for (const key of left) {
    if (action === "put") await client.write(key, await Bun.file(`${folder}/${key}`).bytes());
    else await client.file(key).bytes();
  }
}));

async function list(): Promise<string[]> {
  const keys: string[] = [];
  for (let more = true; more;) {
    const { contents = [], isTruncated = false } = await client.list({
      ...(keys.length === 0 ? {} : { startAfter: keys.at(-1)! }),
    });
    keys.push(...contents.map(({ key }) => key));
    more = isTruncated;
  }
  return keys;
}
