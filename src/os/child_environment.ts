/** What a child of varve finds in its environment. */

/** Secrets, and what names the files, profiles and services that they come from. */
const OURS = /^(?:VARVE|AWS)_/;

/**
 * Takes varve's own variables out of this process's environment: whatever program is started from here on, also by a library,
 * such as the `credential_process` of a profile, finds no secret in it.
 */
export function hideOwnVariables(): void {
  for (const name of Object.keys(process.env)) {
    if (name.startsWith("VARVE_")) delete process.env[name];
  }
}

/** This process's environment without what belongs to varve and its store: the child is another program, with rights of its own. */
export function childEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !OURS.test(name)));
}
