/** What must hold of every run, whatever lies in the store: how it ends, what it takes, and what it prints. */
import type { Ran } from "./run.ts";

/** Those of README, "Exit codes". */
const EXIT_CODES = new Set([0, 1, 2, 3, 4, 10, 11, 12, 13, 130]);
/** A sound run takes about 100 MiB, and one that stretches a passphrase up to 256 MiB more. */
export const MEMORY_BYTES_MAX = 600 * 1024 * 1024;

// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;
/** Turn the direction of what follows on a terminal. */
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;
/** What the runtime says where the program met something that it did not expect. */
const RUNTIME_TEXT =
  /\$bunfs|\bat \S+ ?\(?\S+\.[jt]s:\d+|(?:Type|Range|Reference|Syntax)Error|undefined is not|null is not|is not (?:a function|iterable|a constructor)|evaluating '|Cannot read propert|Invalid (?:array length|Date|time value)|stack size|Out of memory|Assertion|panic|\[object /i;

/** What did not hold, a line each. */
export function judge(ran: Ran, output: "text" | "json" | "bytes"): string[] {
  return [...judgeEnd(ran), ...judgeErrors(ran), ...judgeOutput(ran, output)];
}

function* judgeEnd({ code, signal, ended, peakBytes }: Ran): Generator<string> {
  if (ended === "deaf") yield "it hangs, and does not answer SIGTERM";
  else if (ended === "stuck") yield "it hangs until SIGTERM";
  else if (code === null && !wasStruck({ code, signal, ended })) yield `it was ended by ${signal}`;
  else if (code !== null && !EXIT_CODES.has(code)) yield `its exit code is ${code}`;
  if (peakBytes > MEMORY_BYTES_MAX) yield `it took ${Math.round(peakBytes / 2 ** 20)} MiB of memory`;
}

/** By the SIGTERM that was wanted, before it listened to any. */
function wasStruck({ code, signal, ended }: Pick<Ran, "code" | "signal" | "ended">): boolean {
  return ended === "asked" && code === null && signal === "SIGTERM";
}

function* judgeErrors(ran: Ran): Generator<string> {
  const { code, ended, stderr } = ran;
  if (ended === "deaf" || wasStruck(ran)) return;
  const lines = stderr.split("\n");
  if (lines.pop() !== "") yield "the last line on standard error is not ended";
  const isError = ran.args.includes("--json") ? isErrorDocument : isErrorLine;
  if (code === 0 && lines.some(isError)) yield "it says an error, with exit code 0";
  if (code !== 0 && !isError(lines.at(-1) ?? "")) yield "the last line on standard error is not its error";
  yield* judgeText(stderr, "standard error");
  const runtimeText = RUNTIME_TEXT.exec(stderr)?.[0];
  if (runtimeText !== undefined) {
    yield `standard error has the runtime's words: ${JSON.stringify(runtimeText)}`;
  }
}

function isErrorLine(line: string): boolean {
  return line.startsWith("varve: ");
}

/** `{"error":{"code":…,"exit":…,"message":…}}` */
function isErrorDocument(line: string): boolean {
  return line.startsWith('{"error":{"code":"') && isJson(line);
}

function* judgeOutput({ code, stdout, isCut }: Ran, output: "text" | "json" | "bytes"): Generator<string> {
  if (output === "bytes" || isCut) return;
  const text = Buffer.from(stdout).toString();
  yield* judgeText(text, "standard output");
  if (output === "json" && code === 0 && !isJson(text)) yield "what it prints is not JSON";
}

function* judgeText(text: string, where: string): Generator<string> {
  if (CONTROLS.test(text)) yield `${where} has raw control characters`;
  if (BIDI.test(text)) yield `${where} has raw characters that turn the direction of text`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
