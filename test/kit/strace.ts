/** Runs a program under strace, so that a test sees its system calls or has one fail. */

/** What the program, as text, writes to standard output; `options` are strace's. Throws where it fails. */
export async function underStrace(options: readonly string[], program: string): Promise<string> {
  const command = ["strace", "-f", "-qq", ...options, process.execPath, "-e", program];
  const child = Bun.spawn(command, { stderr: "pipe" });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if (await child.exited !== 0) throw new Error(`strace failed: ${errors}`);
  return output;
}
