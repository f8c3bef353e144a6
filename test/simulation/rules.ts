/** The rules of docs/gc.md, and for each the change of the source that switches it off. */

export interface Edit {
  /** In src/engine. */
  file: string;
  find: string;
  replace: string;
}

export const BROKEN_RULES: Record<string, Edit[]> = {};

export type RuleName = keyof typeof BROKEN_RULES;
