/** The log: pino in this process, written to the screen's lines, so that it never tears the progress line. */
import { Writable } from "node:stream";
import { escapeControls, escapeJson } from "../errors.ts";
import type { Logger } from "../engine/context.ts";
import type { LOG_FORMATS, LOG_LEVELS } from "./log_options.ts";
import type { Screen } from "./screen.ts";

/** ECMA-48 SGR. */
// deno-lint-ignore no-control-regex
const COLOUR = /(\u001b\[[\d;]*m)/;

export interface LoggerOptions {
  level: (typeof LOG_LEVELS)[number];
  format: (typeof LOG_FORMATS)[number];
}

export async function createLogger(screen: Screen, options: LoggerOptions): Promise<Logger> {
  const { pino, stdTimeFunctions } = await import("pino");
  const destination = options.format === "pretty"
    ? await prettyStream(screen)
    : { write: (line: string) => screen.write(escapeJson(line)) };
  const logger: Logger = pino({
    level: options.level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  }, destination);
  return logger;
}

async function prettyStream(screen: Screen): Promise<Writable> {
  const { default: pretty } = await import("pino-pretty");
  const destination = new Writable({
    write(text, _encoding, done) {
      screen.write(escapeAll(String(text)));
      done();
    },
  });
  return pretty({
    destination,
    sync: true,
    colorize: screen.isTerminal,
    singleLine: true,
    translateTime: "SYS:HH:MM:ss",
  });
}

/** All that could steer a terminal but the colours. */
function escapeAll(text: string): string {
  return text.split(COLOUR).map((part, at) => at % 2 === 1 ? part : escapeControls(part)).join("");
}
