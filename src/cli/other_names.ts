/** Commands and options of other backup programs, and what varve has in their place. */

const COMMANDS: Record<string, string> = {
  snapshots: "varve list",
  ls: "varve list",
  find: "varve list",
  info: "varve show",
  create: "varve backup",
  dump: "varve restore POINT --to -",
  extract: "varve restore",
  mount: "varve restore",
  check: "varve verify",
  scrub: "varve verify",
  rm: "varve forget",
  remove: "varve forget",
  delete: "varve forget",
  prune: "varve gc",
  compact: "varve gc",
  cleanup: "varve gc",
  sync: "varve copy",
};

const OPTIONS: Record<string, string> = {
  "--keep": "--keep-last, --keep-daily and the other rules of varve forget",
  "--prune": "varve gc, after varve forget",
  "--password-file": "--passphrase-file",
  "--repository": "--repo",
  "--verbose": "--log-level info",
  "-v": "--version or --log-level info",
  "-n": "--dry-run",
  "-r": "--repo",
  "-p": "--passphrase-file",
};

/** What to use in place of a command that varve does not have. */
export function replaceCommand(name: string): string | undefined {
  return Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
}

/** What to use in place of an option that varve does not have. */
export function replaceOption(flag: string): string | undefined {
  return Object.hasOwn(OPTIONS, flag) ? OPTIONS[flag] : undefined;
}
