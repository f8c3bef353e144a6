/** Writes to a file through a mapping, mmap(2), of another process. */

/** A process that holds `path` mapped and writes `byte` to `offset` there. */
export function mappingOf(path: string) {
  const program = `const map = Bun.mmap(${JSON.stringify(path)});
    for await (const line of console) {
      const [offset, byte] = line.split(" ").map(Number);
      map[offset] = byte;
      console.log("done");
    }`;
  const child = Bun.spawn([process.execPath, "-e", program], { stdin: "pipe", stdout: "pipe" });
  const reader = child.stdout.getReader();
  const write = async (offset: number, byte: number) => {
    child.stdin.write(`${offset} ${byte}\n`);
    child.stdin.flush();
    await reader.read();
  };
  return { write, end: () => child.kill() };
}
