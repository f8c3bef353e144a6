/** Several that back up one image with `rbd:…`, runs that are cut off, and snapshots that go while they are read. */
import { beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync } from "node:fs";
import { describeWith } from "../kit/parts.ts";
import { expectOneLine, lastLineText } from "../kit/repository.ts";
import { startVarve } from "../kit/varve.ts";
import { clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import { MIB, RbdImage, write } from "../kit/rbd_image.ts";
import { HeldRbd, type HoldAt, SourceVolume } from "../kit/rbd_source.ts";
import { Workbench } from "../kit/workbench.ts";

const SIZE_BYTES = 9 * MIB;

describeWith(["Ceph"], "varve backup of an image that others work on", () => {
  const repository = clusterRepository();
  let held = 0;
  const hold = (at: HoldAt) => new HeldRbd(repository.path(`rbd-${held++}`), at);
  /** With content and one backup of it. */
  const begun = async (name: string) => {
    const image = await RbdImage.create(repository.env, { sizeBytes: SIZE_BYTES });
    await image.change([write(1, 0, SIZE_BYTES)]);
    const volume = new SourceVolume(repository, { image, name });
    const { report } = await volume.backUp();
    return { volume, image, first: report.to_snapshot as string };
  };
  /** Starts a backup whose export is held up. */
  const start = (volume: SourceVolume, rbd: HeldRbd, env: Record<string, string> = {}) => {
    const child = startVarve(volume.words(), { env: { ...repository.env, ...rbd.env, ...env } });
    return { child, result: endOf(child) };
  };
  const endOf = async (child: ReturnType<typeof startVarve>) => {
    const [stdout, stderr] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    await child.exited;
    return { code: child.exitCode, stdout, stderr };
  };

  /** Starts a backup whose `rbd snap rm` does not come back; `removing` resolves once that runs. */
  const startStuck = async (volume: SourceVolume) => {
    const folder = repository.path(`rbd-${held++}`);
    const [reached, rbd] = [`${folder}/reached`, `${folder}/rbd`];
    const script = `case "$1 $2" in "snap rm") touch '${reached}'; sleep 1000;; esac\nexec ${
      Bun.which("rbd")
    } "$@"`;
    await Bun.write(rbd, `#!/bin/sh\n${script}\n`);
    chmodSync(rbd, 0o755);
    const env = { ...repository.env, PATH: `${folder}:${process.env.PATH}` };
    const child = startVarve(volume.words(), { env });
    const removing = async () => {
      while (!existsSync(reached)) await Bun.sleep(20);
    };
    return { child, removing, result: endOf(child) };
  };

  beforeAll(async () => {
    await repository.run(["init", "acme", "--no-encryption"]);
  });

  describe("at once", () => {
    test("from two hosts: both succeed, and the next run leaves one snapshot", async () => {
      const { volume, image, first } = await begun("two-hosts");
      await image.change([write(2, MIB, 5000)]);
      const rbd = hold("before");
      const slow = start(volume, rbd, { XDG_CACHE_HOME: repository.path("other-host") });
      await rbd.reading();
      await image.change([write(3, 5 * MIB, 5000)]);
      const fast = await volume.backUp();
      expect(fast.report.from_snapshot).toBe(first);
      const there = await image.snapshots();
      expect({ count: there.length, first: there[0], last: there[2] })
        .toEqual({ count: 3, first, last: fast.report.to_snapshot as string });
      rbd.letGo();
      const { report, warnings } = await volume.expectBacked(await slow.result);
      expect({ from: report.from_snapshot, to: report.to_snapshot, warnings })
        .toEqual({ from: first, to: there[1] as string, warnings: [] });
      expect(await image.snapshots()).toEqual(there.slice(1));
      const next = await volume.backUp();
      expect(next.report.from_snapshot).toBe(fast.report.to_snapshot);
      expect(await image.snapshots()).toEqual([next.report.to_snapshot as string]);
    }, TEST_LIMIT_MS);

    test("into two volumes and two repositories: each has its own snapshot for a base", async () => {
      const { volume, image } = await begun("volume-1");
      const other = new Workbench(repository.path("second"), {
        VARVE_REPO: repository.path("second-repository"),
        CEPH_CONF: repository.env.CEPH_CONF!,
      });
      await other.run(["init", "acme", "--no-encryption"]);
      const volumes = [
        volume,
        new SourceVolume(repository, { image, name: "volume-2" }),
        new SourceVolume(other, { image, name: "volume-1" }),
      ];
      for (let night = 0; night < 2; night++) {
        await image.change([write(night + 2, night * MIB, 5000)]);
        for (const [at, each] of volumes.entries()) {
          const { report, warnings } = await each.backUp();
          expect({ isFull: report.base === null, warnings }).toEqual({
            isFull: night === 0 && at > 0,
            warnings: [],
          });
        }
      }
      expect(await image.snapshots()).toHaveLength(3);
      for (const each of volumes) await each.assertPoints();
    }, TEST_LIMIT_MS);
  });

  describe("that ends before it is done", () => {
    test("by kill -9: the next run is right, and removes what was left", async () => {
      const { volume, image, first } = await begun("killed");
      await image.change([write(2, MIB, 5000)]);
      const rbd = hold("before");
      const { child, result } = start(volume, rbd);
      await rbd.reading();
      child.kill("SIGKILL");
      expect((await result).code).not.toBe(0);
      rbd.letGo();
      const left = await image.snapshots();
      expect(left).toEqual([first, expect.any(String)]);
      await image.change([write(3, 3 * MIB, 5000)]);
      const { report, warnings } = await volume.backUp();
      expect({ from: report.from_snapshot, warnings }).toEqual({ from: first, warnings: [] });
      expect(await image.snapshots()).toEqual([report.to_snapshot as string]);
      await volume.assertPoints();
    }, TEST_LIMIT_MS);

    test.each(["SIGINT", "SIGTERM"] as const)("by %s: its snapshot goes, the older stays", async (signal) => {
      const { volume, image, first } = await begun(`stopped-${signal}`);
      const rbd = hold("before");
      const { child, result } = start(volume, rbd);
      await rbd.reading();
      child.kill(signal);
      const { code, stdout, stderr } = await result;
      expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
      expect(lastLineText({ code, stderr })).toStartWith("varve: Interrupted");
      rbd.letGo();
      // On a busy machine the command that removes it may outlive the run, which ends within two seconds.
      while ((await image.snapshots()).length > 1) await Bun.sleep(100);
      expect((await volume.backUp()).report.from_snapshot).toBe(first);
    }, TEST_LIMIT_MS);

    test("by SIGINT while an older snapshot cannot be removed: the point is stored, and said", async () => {
      const { volume } = await begun("stuck");
      const { child, result, removing } = await startStuck(volume);
      await removing();
      child.kill("SIGINT");
      const { code, stdout, stderr } = await result;
      expect(JSON.parse(stderr.trimEnd().split("\n").at(-1)!).error.message).toBe(
        "Interrupted: the restore point was committed; only what follows was not finished",
      );
      const { report } = await volume.expectBacked({ code: 0, stdout, stderr: "" });
      expect({ code, last: (await repository.list(volume.name)).at(-1)!.backup })
        .toEqual({ code: 130, last: report.backup });
    }, TEST_LIMIT_MS);

    test("not, where an older snapshot cannot be removed: that is given up after a minute", async () => {
      const { volume, image } = await begun("stuck-for-ever");
      const { result } = await startStuck(volume);
      const { report, warnings } = await volume.expectBacked(await result);
      expect(warnings).toEqual(["older snapshots are kept until the next backup: The operation timed out."]);
      expect(await image.snapshots()).toEqual([expect.any(String), report.to_snapshot as string]);
    }, TEST_LIMIT_MS);

    test("because rbd fails: its snapshot goes, the older stays, and a line names the image", async () => {
      const { volume, image, first } = await begun("rbd-fails");
      const rbd = `#!/bin/sh\ncase $1 in export-diff) echo it broke >&2; exit 5;; esac\nexec ${
        Bun.which("rbd")
      } "$@"\n`;
      await Bun.write(repository.path("bin/rbd"), rbd);
      chmodSync(repository.path("bin/rbd"), 0o755);
      const env = { PATH: `${repository.path("bin")}:${process.env.PATH}` };
      const { stderr, ...ended } = await repository.run(volume.words(), { env });
      const own = (await image.snapshots()).filter((name) => name !== first);
      expect({ ...ended, own }).toEqual({ code: 1, stdout: "", own: [] });
      expect(lastLineText({ code: ended.code, stderr })).toMatch(
        /^varve: Cannot read "rbd:\S+@varve-\S+": Cannot complete "rbd": it exited with code 5: it broke\n$/,
      );
    }, TEST_LIMIT_MS);

    test("because its base is renamed: its snapshot goes", async () => {
      const { volume, image, first } = await begun("renamed");
      const rbd = hold("before");
      const { result } = start(volume, rbd);
      await rbd.reading();
      await image.rbd("snap", "rename", `${image.spec}@${first}`, `${image.spec}@renamed`);
      rbd.letGo();
      const { stderr, ...ended } = await result;
      expect(ended).toEqual({ code: 11, stdout: "" });
      expect(lastLineText({ code: ended.code, stderr })).toBe(
        `varve: Cannot read "rbd:${image.spec}": its snapshot "${first}" was removed while it was read; retry\n`,
      );
      expect(await image.snapshots()).toEqual(["renamed"]);
    }, TEST_LIMIT_MS);
  });

  describe("whose snapshot is removed", () => {
    test.each(
      [
        ["the one that is backed up", "before", 1],
        ["the one that is backed up", "after", 1],
        ["the one that it begins at", "before", 0],
        ["the one that it begins at", "after", 0],
      ] as const,
    )("%s, %s it was read: nothing is committed", async (_, at, which) => {
      const { volume, image } = await begun(`removed-${at}-${which}`);
      await image.change([write(2, MIB, 5000)]);
      const rbd = hold(at);
      const { result } = start(volume, rbd);
      await rbd.reading();
      const gone = (await image.snapshots())[which]!;
      await image.removeSnapshot(gone);
      rbd.letGo();
      expectOneLine(await result, {
        code: 11,
        line: `its snapshot "${gone}" was removed while it was read; retry`,
      });
      await volume.assertPoints();
      const { report, warnings } = await volume.backUp();
      expect({ isFull: report.base === null, said: warnings.length })
        .toEqual(which === 0 ? { isFull: true, said: 1 } : { isFull: false, said: 0 });
      expect(await image.snapshots()).toEqual([report.to_snapshot as string]);
    }, TEST_LIMIT_MS);

    test("while it is read: what rbd gives, and ends well with, is a mixture", async () => {
      const image = await RbdImage.create(repository.env, { sizeBytes: 96 * MIB });
      await image.change([write(1, 0, 96 * MIB)]);
      await image.snapshot("one");
      const volume = new SourceVolume(repository, { image, name: "mixture" });
      const rbd = hold("while");
      const result = repository.run(volume.words("one"), { env: rbd.env });
      await rbd.reading();
      await image.change([write(2, 0, 96 * MIB)]);
      await image.removeSnapshot("one");
      rbd.letGo();
      expectOneLine(await result, { code: 11, line: 'its snapshot "one" was removed while it was read' });
    }, TEST_LIMIT_MS);

    test("and made anew under its name, after it was read: nothing is committed", async () => {
      const { volume, image } = await begun("removed-anew");
      await image.snapshot("monday");
      const rbd = hold("after");
      const child = startVarve(volume.words("monday"), { env: { ...repository.env, ...rbd.env } });
      await rbd.reading();
      await image.removeSnapshot("monday");
      await image.snapshot("monday");
      rbd.letGo();
      const stderr = await new Response(child.stderr).text();
      const code = await child.exited;
      expect({ code, stderr: lastLineText({ code, stderr }) }).toEqual({
        code: 11,
        stderr:
          `varve: Cannot read "rbd:${image.spec}": its snapshot "monday" was removed while it was read; retry\n`,
      });
      expect(await image.snapshots()).toContain("monday");
      await volume.assertPoints();
    }, TEST_LIMIT_MS);
  });
});
