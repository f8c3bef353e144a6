/** Which restore point of a project. */
export interface PointRef {
  volume: string;
  backup: string;
}
