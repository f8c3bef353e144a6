/** What a child of varve (`--exec`) finds in its environment. */

/** Secrets, and what names the files, profiles and services that they come from. */
const OURS = /^(?:VARVE|AWS)_/;

/** This process's environment without what belongs to varve and its store: the child is another program, with rights of its own. */
export function childEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !OURS.test(name)));
}
