/** Reading an image's snapshot anywhere, over a real cluster: the right bytes, and one line where there are none. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { startCeph } from "../kit/ceph.ts";
import { describeWith } from "../kit/parts.ts";
import type { Server } from "../kit/servers.ts";
import { MIB, RbdImage, shell, shellWords, write } from "../kit/rbd_image.ts";
import type { Reading } from "./read_snapshot.ts";

setDefaultTimeout(120_000);

const SIZE = 12 * MIB + 1000;
const READS: Reading["reads"] = [[4 * MIB, 4 * MIB], [0, 5], [SIZE - 1000, 1000], [3 * MIB - 1, 2 * MIB + 2]];

describeWith(["Ceph"], "RbdReader", () => {
  let ceph: Server;
  let options: Reading["options"];
  let exported: Uint8Array;

  beforeAll(async () => {
    ceph = await startCeph();
    const image = await RbdImage.create(ceph.env, { sizeBytes: SIZE });
    await image.change([write(1, 3 * MIB, 2 * MIB), write(2, SIZE - 10, 10)]);
    await image.snapshot("one");
    await image.change([write(3, 0, SIZE)]);
    exported = await image.rbd("export", "--no-progress", `${image.spec}@one`, "-");
    const ask = async (...args: string[]) =>
      JSON.parse(`${Buffer.from(await image.rbd(...args, "--format", "json"))}`);
    const [{ id }, [snapshot]] = [await ask("info", image.spec), await ask("snap", "ls", image.spec)];
    options = { pool: "rbd", namespace: undefined, imageId: id, snapshotId: snapshot.id, name: image.spec };
  });
  afterAll(() => ceph.stop());

  async function read(reading: Partial<Reading>, env: Record<string, string> = {}): Promise<string[]> {
    const words = ["timeout", "60", process.execPath, join(import.meta.dirname, "read_snapshot.ts")];
    const line = shellWords([...words, JSON.stringify({ options, reads: READS, ...reading })]);
    return JSON.parse(`${Buffer.from(await shell(line, { env: { ...ceph.env, ...env } }))}`);
  }

  test.each(["", "--id admin", "--name=client.admin --debug-rbd=0"])(
    "gives the bytes of the snapshot, in any order and of any length, with CEPH_ARGS %j",
    async (CEPH_ARGS) => {
      const expected = READS.map(([offset, length]) =>
        createHash("sha256").update(exported.subarray(offset, offset + length)).digest("hex")
      );
      expect(await read({}, { CEPH_ARGS })).toEqual(expected);
    },
  );

  test("finds the cluster by CEPH_ARGS alone", async () => {
    const CEPH_ARGS = `-c ${ceph.env.CEPH_CONF}`;
    expect(await read({ reads: [[0, 1]] }, { CEPH_CONF: "/nowhere", CEPH_ARGS })).toEqual([
      createHash("sha256").update(exported.subarray(0, 1)).digest("hex"),
    ]);
  });

  test.each([
    ["snapshot", { snapshotId: 0xffffff }, /error setting image \S+ to snapshot/],
    ["image", { imageId: "deadbeef" }, /error opening image/],
    ["pool", { pool: "no-pool" }, /error opening pool 'no-pool'/],
    ["image in that namespace", { namespace: "none" }, /error opening image/],
  ])("says in one line that there is no such %s", async (_, other, why) => {
    const [message] = await read({ options: { ...options, ...other } });
    expect(message).toMatch(
      /^Cannot read "rbd\/[\w-]+" to compare with it: Cannot complete "\/usr\/bin\/python3": [^\n]+$/,
    );
    expect(message).toMatch(why);
  });

  test("says that there is no such user", async () => {
    expect(await read({}, { CEPH_ARGS: "--id nobody" })).toEqual([
      expect.stringContaining("error connecting to the cluster"),
    ]);
  });

  test("gives nothing behind the snapshot's end, and nothing after that", async () => {
    const results = await read({ reads: [[12 * MIB, MIB], [0, 1]] });
    expect(results).toEqual(Array(2).fill(expect.stringContaining(`it has only ${SIZE} bytes`)));
  });
});
