/** The log on standard error, in either format: which lines are its own, and what they say. */

const PRETTY = /^\[\d[^\]]*\] [A-Z]+: (.*?)(?: \{".*\})?$/;

/** The messages of the log, in order. */
export function messages(stderr: string): string[] {
  return stderr.split("\n").map(messageOf).filter((message) => message !== undefined);
}

/** What is left without the lines of the log whose message fits. */
export function withoutLog(stderr: string, fits = /(?:)/): string {
  return stderr.split("\n").filter((line) => {
    const message = messageOf(line);
    return message === undefined || !fits.test(message);
  }).join("\n");
}

/** `undefined` for a line that is not the log's: the last one with `--json` is an object, too. */
function messageOf(line: string): string | undefined {
  if (!line.startsWith("{")) return PRETTY.exec(line)?.[1];
  return (JSON.parse(line) as { msg?: string }).msg;
}
