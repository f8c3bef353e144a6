/** The values of `--log-level` and `--log-format`, apart from the logger so that `--help` need not load it. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export const LOG_FORMATS = ["json", "pretty"] as const;
