/** All ways to attack, by name. */
import type { Attack } from "../attacker.ts";
import { FILE_ATTACKS } from "./files.ts";
import { FORGED_ATTACKS } from "./forgeries.ts";
import { KEY_ATTACKS } from "./keys.ts";
import { OBJECT_ATTACKS } from "./objects.ts";
import { PLACE_ATTACKS } from "./places.ts";

export const ATTACKS: Readonly<Record<string, Attack>> = {
  ...OBJECT_ATTACKS,
  ...PLACE_ATTACKS,
  ...KEY_ATTACKS,
  ...FORGED_ATTACKS,
  ...FILE_ATTACKS,
};
