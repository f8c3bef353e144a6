import { manifestName } from "../format/layout.ts";

/** Which restore point of a project. */
export interface PointRef {
  volume: string;
  backup: string;
}

/** The name of the point's manifest. */
export function nameOf({ volume, backup }: PointRef): string {
  return manifestName(volume, backup);
}
