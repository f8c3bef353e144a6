import { expect, test } from "bun:test";
import { openProject } from "../../src/project/open_project.ts";
import { listPoints } from "../../src/project/points.ts";
import { backUp, newRepository, PROJECT, testContext } from "../kit/engine.ts";
import { bytes } from "../kit/store_contract.ts";

test("listPoints() has every point, oldest first within a volume, and nothing that has no point's name", async () => {
  const repository = await newRepository();
  const project = await openProject(repository, { name: PROJECT, secrets: [] }, testContext());
  expect(await listPoints(project, undefined, testContext())).toEqual([]);
  const made: { volume: string; backup: string }[] = [];
  const days = [["b", 1], ["a", 2], ["b", 3]] as const;
  for (const [volume, day] of days) {
    const context = testContext({ clock: { ...testContext().clock, now: () => Date.UTC(2026, 0, day) } });
    const [report] = await backUp(repository, [{ to: `s${day}`, sizeBytes: 0, extents: [] }], {
      volume,
      context,
    });
    made.push({ volume, backup: report!.backup });
  }
  await repository.store.put(project.objectKey("volumes/a/stray"), bytes("x"));
  expect(await listPoints(project, undefined, testContext())).toMatchObject([made[1]!, made[0]!, made[2]!]);
});
