/** How a program is asked to make and restore a backup: what all have in common, and varve. The others: peers.ts. */

export interface Source {
  /** What `rbd export-diff` would write, for a program that knows it. */
  stream: string;
  /** The bytes of the whole volume, for the others. */
  image: string;
  /** What `rbd diff --format json` would say of the changes since the last backup, for who reads these of the image. */
  hints?: string | undefined;
}

/** A bucket for a repository. */
export interface S3Place {
  endpoint: string;
  accessKey: string;
  secretKey: string;
  bucket: string;
}

export interface Where {
  /** For all that the program keeps on this host. */
  folder: string;
  /** The repository, if it is not in a bucket. */
  repository: string;
  s3?: S3Place | undefined;
}

/** What the scripts say is run in `Where.folder` with that environment; the repository holds one volume. */
export interface Program {
  name: string;
  peer: boolean;
  /** The executable file's path. */
  file: string;
  version: string;
  /** What a reader should know of how it is called. */
  settings: string;
  speaksS3: boolean;
  env: (where: Where) => Record<string, string>;
  init: string;
  backUp: (source: Source) => string;
  /** Restores the latest backup to a file somewhere in the folder "out", which is not there yet. */
  restore: string;
}

export const PASSWORD = "bench";

export function varve(file: string, { sealed }: { sealed: boolean }): Program {
  return {
    name: sealed ? "varve, sealed" : "varve",
    peer: false,
    file,
    version: `${file} --version`,
    settings: `reads the stream from cat; ${sealed ? "with a passphrase" : "without a passphrase"}`,
    speaksS3: true,
    env: ({ folder, repository, s3 }) => ({
      XDG_CACHE_HOME: `${folder}/cache`,
      XDG_STATE_HOME: `${folder}/state`,
      VARVE_REPO: s3 === undefined ? repository : `s3://${s3.bucket}`,
      ...(sealed ? { VARVE_PASSPHRASE: PASSWORD } : {}),
      ...(s3 === undefined ? {} : awsEnv(s3)),
    }),
    init: `${file} -q init acme${sealed ? "" : " --no-encryption"}`,
    backUp: ({ stream }) => `cat '${stream}' | ${file} -q backup acme/db`,
    restore: `mkdir out; ${file} -q restore acme/db --to out/db`,
  };
}

/** The environment by which a program of the AWS SDK's habits reaches a server. */
export function awsEnv({ endpoint, accessKey, secretKey }: S3Place): Record<string, string> {
  return {
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
  };
}
