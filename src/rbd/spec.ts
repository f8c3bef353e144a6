/** `rbd:POOL[/NAMESPACE]/IMAGE[@SNAP]`: an image of a Ceph cluster as it is written on a command line. */
import { UsageError } from "../errors.ts";
import { quote } from "../format/names.ts";

export interface RbdSpec {
  pool: string;
  namespace: string | undefined;
  image: string;
  snapshot: string | undefined;
}

const PREFIX = "rbd:";
const PATTERN = /^rbd:([^/@]+)\/(?:([^/@]+)\/)?([^/@]+)(?:@([^/@]+))?$/s;

/** Whether the word names an image, rightly or not; a file of such a name is `./rbd:…`. */
export function isRbdSpec(word: string): boolean {
  return word.startsWith(PREFIX);
}

/** No part may be empty, or hold `/` or `@`: rbd allows them in no name. Throws `UsageError`. */
export function parseRbdSpec(word: string): RbdSpec {
  const [, pool, namespace, image, snapshot] = PATTERN.exec(word) ?? [];
  if (pool !== undefined && image !== undefined) return { pool, namespace, image, snapshot };
  throw new UsageError(`Cannot read ${quote(word)} as an image: expected rbd:POOL[/NAMESPACE]/IMAGE[@SNAP]`);
}

/** `POOL[/NAMESPACE]/IMAGE`, as rbd itself writes it. */
export function imageText({ pool, namespace, image }: RbdSpec): string {
  return [pool, ...namespace === undefined ? [] : [namespace], image].join("/");
}
