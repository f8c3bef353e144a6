/** verify, repair and gc as a user types them, over the built program. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { GcReport } from "../../src/engine/gc/gc_report.ts";
import type { VerifyReport } from "../../src/engine/verify/verify.ts";
import { flipBit } from "../kit/damage.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { filesBelow } from "../kit/files_below.ts";

let repository: TestRepository;
beforeAll(async () => {
  repository = await TestRepository.make();
});
afterAll(() => repository.remove());

/** The files of the project's chunks, pages among them. */
const objects = () => filesBelow(join(repository.url, "projects/acme/chunks"));

/** Most of the project goes, and today. */
const AT_ONCE = ["--grace", "0", "--force"];

test(
  "verify says what is damaged and concerned, repair heals it from an image, gc deletes what is forgotten",
  async () => {
    const bytes = noise(4 * CHUNK_BYTES, 7);
    const image = repository.path("image");
    await writeFile(image, bytes);
    const { backup } = await repository.backUp("acme/db", bytes);
    await repository.backUp("acme/other", noise(CHUNK_BYTES, 8));

    expect(await repository.json<VerifyReport>(["verify", "acme"])).toMatchObject({
      chunks: 5,
      chunks_read: 5,
      findings: [],
    });
    expect((await repository.run(["verify", "acme/db", "--source", image])).code).toBe(0);

    const [path] = objects();
    const whole = await readFile(path!);
    await writeFile(path!, flipBit(whole, 8 * (whole.length - 50)));
    const verified = await repository.run(["verify"]);
    expect(verified.code).toBe(3);
    expect(verified.stdout).toMatch(
      /^acme\/(db|other) .* DAMAGED .*damaged: chunks\/\w\w\/\w+…, in 1 point$/ms,
    );
    await writeFile(path!, whole);

    const chunk = (await Promise.all(
      objects().map(async (path) => ({ path, size: (await readFile(path)).length })),
    ))
      .find(({ size }) => size > CHUNK_BYTES)!.path;
    await rm(chunk);
    const missing = await repository.run(["verify", "acme", "--exists"]);
    expect({ code: missing.code, lines: missing.stderr.trim().split("\n").length }).toEqual({
      code: 3,
      lines: 1,
    });
    const both = repository.path("both");
    await writeFile(both, Buffer.concat([noise(CHUNK_BYTES, 8), bytes]));
    expect((await repository.run(["repair", "acme", "--source", both])).code).toBe(0);
    expect((await repository.run(["verify", "acme"])).code).toBe(0);

    expect((await repository.run(["forget", `acme/db@${backup}`])).code).toBe(0);
    const dry = await repository.json<GcReport>(["gc", "acme", "--dry-run", ...AT_ONCE]);
    expect(dry).toMatchObject({ garbage: 5, deleted: 0 });
    const before = objects().length;
    expect(await repository.json<GcReport>(["gc", "acme", ...AT_ONCE])).toMatchObject({
      deleted: 5,
      refused: [],
      plans_waiting: [],
    });
    expect(objects().length).toBe(before - 5);
    expect((await repository.run(["verify"])).code).toBe(0);
  },
  RUN_LIMIT_MS,
);
