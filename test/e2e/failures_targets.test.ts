/** The built program and targets that it must not, or cannot, restore to. */
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { describeWith } from "../kit/parts.ts";
import { mountTmpfs, runAsRoot, unmount } from "../kit/mounts.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { VARVE_BIN } from "../kit/varve.ts";

const VOLUME = "acme/vm";
const BYTES = noise(40 * CHUNK_BYTES, "volume");

setDefaultTimeout(RUN_LIMIT_MS);

let repository: TestRepository;
beforeAll(async () => {
  repository = await TestRepository.make();
  await repository.backUp(VOLUME, BYTES);
});
afterAll(() => repository.remove());

const restore = (to: string, ...options: string[]) =>
  repository.run(["restore", VOLUME, "--to", to, ...options]);
/** What bash tells of a command line with `varve` in it: its parts' exit codes, and what they said. */
const inShell = async (line: string) => {
  const child = Bun.spawn([
    "bash",
    "-c",
    `varve() { '${VARVE_BIN}' "$@"; }; ${line}; echo "\${PIPESTATUS[@]}" >&3`,
  ], {
    env: { PATH: process.env.PATH ?? "", ...repository.env },
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const [stderr, codes] = await Promise.all([
    new Response(child.stderr).text(),
    new Response(Bun.file(child.stdio[3] as number).stream()).text(),
    new Response(child.stdout).text(),
  ]);
  return { codes: codes.trim(), stderr };
};

describe("varve restore writes nothing when the target", () => {
  test("is in a folder that is not there", async () => {
    const to = repository.path("no/such/folder/restored.img");
    const line = `Cannot restore to "${to}": the directory "${
      repository.path("no/such/folder")
    }" does not exist; mount or create it`;
    expectOneLine(await restore(to), { code: 1, line });
    expect(existsSync(repository.path("no"))).toBe(false);
  });

  test("is an image, or standard output with an option of files", async () => {
    expectOneLine(await restore("rbd:rbd/new"), { code: 2, line: /--exec -- rbd import - rbd\/new\n$/ });
    expectOneLine(await restore("-", "--resize"), { code: 2, line: "--resize is for a file" });
  });

  test("is a folder", async () => {
    mkdirSync(repository.path("folder"));
    const to = repository.path("folder");
    expectOneLine(await restore(to), { code: 1, line: `Cannot restore to "${to}": it is a directory` });
  });

  test("is in the repository itself, by whatever path", async () => {
    const [link, toFile] = [repository.path("link"), repository.path("link-to-file")];
    symlinkSync(repository.url, link);
    symlinkSync(`${repository.url}/varve.json`, toFile);
    const before = readFileSync(`${repository.url}/varve.json`);
    const inside = [
      `${repository.url}/varve.json`,
      `${repository.url}/new.img`,
      `${repository.url}/projects/acme/new.img`,
      `${link}/projects/../varve.json`,
      toFile,
    ];
    for (const to of inside) {
      for (const options of [["--force", "--resize"], ["--format", "rbd-diff"], ["--dry-run"]]) {
        const line = `Cannot restore to "${to}": it is in the repository "${repository.url}"; name a place`;
        expectOneLine(await restore(to, ...options), { code: 1, line });
      }
    }
    expect(readFileSync(`${repository.url}/varve.json`).equals(before)).toBe(true);
    expect(existsSync(`${repository.url}/new.img`)).toBe(false);
  });

  test("is a pipe whose reader has gone", async () => {
    const { codes, stderr } = await inShell(`varve restore ${VOLUME} --to - | head -c 1000`);
    expect({ codes, stderr }).toEqual({
      codes: "1 0",
      stderr: 'varve: Cannot write "standard output": its reader has exited: broken pipe (EPIPE)\n',
    });
  });

  test("is a device that takes nothing", async () => {
    expectOneLine(await restore("/dev/full"), { code: 1, line: /Cannot write "\/dev\/full": no space left/ });
  });

  test("would be another point, which there is not", async () => {
    const to = repository.path("none.img");
    const result = await repository.run(["restore", `${VOLUME}@tuesday`, "--to", to]);
    expectOneLine(result, { code: 4, line: /Cannot find "acme\/vm@tuesday"/ });
    expect(existsSync(to)).toBe(false);
  });
});

describe("varve restore to a file that is larger than the volume", () => {
  const larger = () => {
    const to = repository.path("larger.img");
    writeFileSync(to, Buffer.concat([BYTES, Buffer.from("more")]));
    return to;
  };

  test("writes nothing, with --dry-run too", async () => {
    const to = larger();
    writeFileSync(to, "other", { flag: "r+" });
    const before = readFileSync(to);
    const line =
      `Cannot restore to "${to}": it has ${before.length} bytes, more than the volume (${BYTES.length}); use --resize to truncate it`;
    for (const options of [[], ["--force"], ["--dry-run"]]) {
      expectOneLine(await restore(to, ...options), { code: 1, line });
    }
    expect(readFileSync(to).equals(before)).toBe(true);
  });

  test("cuts it with --resize", async () => {
    const to = larger();
    expect(await restore(to, "--resize")).toMatchObject({ code: 0, stderr: "" });
    expect(readFileSync(to).equals(BYTES)).toBe(true);
  });

  test("changes a part of it, and leaves the rest", async () => {
    const to = larger();
    writeFileSync(to, Buffer.alloc(CHUNK_BYTES), { flag: "r+" });
    expect(await restore(to, "--offset", "0", "--length", "1M")).toMatchObject({ code: 0, stderr: "" });
    expect(readFileSync(to).subarray(0, 1 << 20).equals(BYTES.subarray(0, 1 << 20))).toBe(true);
    expect(readFileSync(to).subarray(BYTES.length).toString()).toBe("more");
  });
});

describe("varve restore --format rbd-diff", () => {
  const stream = ["--format", "rbd-diff"];

  test("leaves a file that has content, and overwrites it with --force", async () => {
    const to = repository.path("kept.diff");
    writeFileSync(to, "precious");
    const line = `Cannot restore to "${to}": it has 8 bytes; use --force to overwrite it`;
    expectOneLine(await restore(to, ...stream), { code: 1, line });
    expect(readFileSync(to, "utf8")).toBe("precious");
    expect(await restore(to, ...stream, "--force")).toMatchObject({ code: 0, stderr: "" });
    expect(readFileSync(to).subarray(0, 12).toString()).toBe("rbd diff v1\n");
  });

  test("writes to a FIFO and to a new file", async () => {
    const [fifo, copy, file] = ["fifo", "fifo.copy", "new.diff"].map((name) => repository.path(name));
    const { codes, stderr } = await inShell(
      `mkfifo '${fifo}'; cat '${fifo}' >'${copy}' & ` +
        `varve restore ${VOLUME} ${stream.join(" ")} --quiet --to '${fifo}'; code=$?; wait; (exit $code)`,
    );
    expect({ codes, stderr }).toEqual({ codes: "0", stderr: "" });
    expect(await restore(file!, ...stream)).toMatchObject({ code: 0, stderr: "" });
    expect(readFileSync(copy!).equals(readFileSync(file!))).toBe(true);
  });
});

test("varve restore tells by its exit code alone that it failed when standard error is closed", async () => {
  const { codes, stderr } = await inShell(`varve restore ${VOLUME} --to /dev/full 2>&-`);
  expect({ codes, stderr }).toEqual({ codes: "1", stderr: "" });
});

test("varve list is content when its reader has gone", async () => {
  const { codes, stderr } = await inShell("varve list | true");
  expect({ codes, stderr }).toEqual({ codes: "0 0", stderr: "" });
});

describeWith(["root"], "varve restore to a full file system", () => {
  let mount: string;
  beforeEach(() => mountTmpfs(mount = repository.path("mount"), [`size=${BYTES.length / 2}`]));
  afterEach(() => {
    unmount(mount);
    rmSync(mount, { recursive: true });
  });

  test("exits with 1 and names the offset", async () => {
    const to = `${mount}/restored.img`;
    expectOneLine(await restore(to), {
      code: 1,
      line: /Cannot write ".*restored.img" at offset \d+: no space left/,
    });
    await repository.expectIntact();
  });
});

describeWith(["root", "filesystems"], "varve restore to a block device", () => {
  let image: string;
  let device: string;
  const attach = (sizeBytes: number) => {
    writeFileSync(image, "before");
    truncateSync(image, sizeBytes);
    device = runAsRoot(["losetup", "--find", "--show", image]).trim();
  };
  beforeEach(() => {
    image = repository.path("device.img");
  });
  afterEach(() => {
    unmount(repository.path("mount"));
    runAsRoot(["losetup", "--detach", device]);
  });

  test("exits with 1 and leaves it as it was when it is smaller than the volume", async () => {
    attach(BYTES.length - 512);
    const line = new RegExp(
      `Cannot restore to "${device}": it is too small with ${BYTES.length - 512} bytes .* ${BYTES.length}`,
    );
    for (const options of [[], ["--force"]]) {
      expectOneLine(await restore(device, ...options), { code: 1, line });
    }
    expect(readFileSync(image).subarray(0, 6).toString()).toBe("before");
  });

  test("exits with 1 when it is mounted, and writes to it when it is forced to", async () => {
    attach(2 * BYTES.length);
    runAsRoot(["mkfs.ext4", "-q", device]);
    const mount = repository.path("mount");
    mkdirSync(mount, { recursive: true });
    runAsRoot(["mount", device, mount]);
    expectOneLine(await restore(device), {
      code: 1,
      line: `Cannot restore to "${device}": it is mounted at "${mount}"; use --force`,
    });
    expectOneLine(await restore(image), {
      code: 1,
      line: `Cannot restore to "${image}": it is the file behind ${device}`,
    });
    expect(runAsRoot(["blkid", "-o", "value", "-s", "TYPE", device])).toBe("ext4\n");

    expect(await restore(device, "--force")).toMatchObject({ code: 0, stderr: "" });
    unmount(mount);
  });

  test("writes no stream of differences to it, nor to the file that it is made of", async () => {
    attach(2 * BYTES.length);
    runAsRoot(["mkfs.ext4", "-q", device]);
    const mount = repository.path("mount");
    mkdirSync(mount, { recursive: true });
    runAsRoot(["mount", device, mount]);
    const stream = ["--format", "rbd-diff"];
    for (const options of [stream, [...stream, "--force"], [...stream, "--dry-run"]]) {
      expectOneLine(await restore(device, ...options), {
        code: 1,
        line: `Cannot restore to "${device}": it is a block device; write the stream to a file`,
      });
    }
    expectOneLine(await restore(image, ...stream), {
      code: 1,
      line:
        `Cannot restore to "${image}": it is the file behind ${device}, which is mounted at "${mount}"; use --force`,
    });
    expect(runAsRoot(["blkid", "-p", "-o", "value", "-s", "TYPE", device])).toBe("ext4\n");
    unmount(mount);
  });

  test("writes to it when it is free, and leaves what lies behind the volume's end", async () => {
    attach(2 * BYTES.length);
    expect(await restore(device)).toMatchObject({ code: 0, stderr: "" });
    const after = readFileSync(image);
    expect(after.length).toBe(2 * BYTES.length);
    expect(after.subarray(0, BYTES.length).equals(BYTES)).toBe(true);
  });
});
