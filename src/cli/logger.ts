/** The log: pino in this process, written to the screen's lines, so that it never tears the progress line. */
import { Writable } from "node:stream";
import { escapeControls, escapeJson, escapeLine } from "../errors.ts";
import type { Logger } from "../context.ts";
import type { LOG_FORMATS, LOG_LEVELS } from "./log_options.ts";
import type { Screen } from "./terminal/screen.ts";

export interface LoggerOptions {
  level: (typeof LOG_LEVELS)[number];
  format: (typeof LOG_FORMATS)[number];
}

export async function createLogger(screen: Screen, options: LoggerOptions): Promise<Logger> {
  const { pino, stdTimeFunctions } = await import("pino");
  const isPretty = options.format === "pretty";
  const destination = isPretty ? await prettyStream(screen) : screen;
  const logger: Logger = pino({
    level: options.level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
    hooks: { streamWrite: isPretty ? escapeTexts : escapeJson },
  }, destination);
  return logger;
}

/** Names, hosts and reasons come from the store: no text in a line of the log steers a terminal, or makes another line. */
function escapeTexts(line: string): string {
  const escape = (name: string, value: unknown) => {
    if (typeof value !== "string") return value;
    return name === "stack" ? escapeControls(value) : escapeLine(value);
  };
  return `${JSON.stringify(JSON.parse(line, escape))}\n`;
}

async function prettyStream(screen: Screen): Promise<Writable> {
  const { default: pretty } = await import("pino-pretty");
  const destination = new Writable({
    write(text, _encoding, done) {
      screen.write(String(text));
      done();
    },
  });
  return pretty({
    destination,
    sync: true,
    colorize: screen.isTerminal,
    singleLine: true,
    translateTime: screen.isTerminal ? "SYS:HH:MM:ss" : "SYS:yyyy-mm-dd HH:MM:sso",
  });
}
