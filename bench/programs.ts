/** How varve and each peer are asked to do the same thing. */

export interface Source {
  /** What `rbd export-diff` would write, for a program that knows it. */
  stream: string;
  /** The bytes of the whole volume, for the others. */
  image: string;
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

const PASSWORD = "bench";

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
      VARVE_REPO: s3 === undefined ? repository : `s3://${s3.bucket}`,
      ...(sealed ? { VARVE_PASSPHRASE: PASSWORD } : {}),
      ...(s3 === undefined ? {} : awsEnv(s3)),
    }),
    init: `${file} -q init`,
    backUp: ({ stream }) => `cat '${stream}' | ${file} -q backup acme/db`,
    restore: `mkdir out; ${file} -q restore acme/db --to out/db`,
  };
}

/** The peers that are installed. */
export function installedPeers(): Program[] {
  return [restic, rustic, borg].flatMap((program) => {
    const file = Bun.which(program.name);
    if (file === null) console.error(`bench: ${program.name} is not installed, so it is left out`);
    return file === null ? [] : [{ ...program, file, peer: true }];
  });
}

type Peer = Omit<Program, "file" | "peer">;

const restic: Peer = {
  name: "restic",
  version: "restic version",
  settings:
    "repository version 2, compression auto (about zstd 3); it always encrypts; --force, as a device has no mtime",
  speaksS3: true,
  env: ({ folder, repository, s3 }) => ({
    RESTIC_REPOSITORY: s3 === undefined ? repository : `s3:${s3.endpoint}/${s3.bucket}`,
    RESTIC_PASSWORD: PASSWORD,
    RESTIC_CACHE_DIR: `${folder}/cache`,
    ...(s3 === undefined ? {} : awsEnv(s3)),
  }),
  init: "restic -q init",
  backUp: ({ image }) => `restic -q backup --force '${image}'`,
  restore: "restic -q restore latest --target out",
};

const rustic: Peer = {
  name: "rustic",
  version: "rustic --version",
  settings: "zstd 3; it always encrypts; --force, as a device has no mtime",
  speaksS3: false,
  env: ({ folder, repository }) => ({
    RUSTIC_REPOSITORY: repository,
    RUSTIC_PASSWORD: PASSWORD,
    RUSTIC_CACHE_DIR: `${folder}/cache`,
    RUSTIC_NO_PROGRESS: "true",
    RUSTIC_LOG_LEVEL: "warn",
  }),
  init: "rustic init --set-compression 3",
  backUp: ({ image }) => `rustic backup --force '${image}'`,
  restore: "mkdir out; rustic restore latest out",
};

const borg: Peer = {
  name: "borg",
  version: "borg --version",
  settings: "--compression zstd,3, --encryption none; --files-cache disabled, as a device has no mtime",
  speaksS3: false,
  env: ({ folder, repository }) => ({
    BORG_REPO: repository,
    BORG_BASE_DIR: folder,
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: "yes",
  }),
  init: "borg init --encryption none",
  backUp: ({ image }) => `borg create --compression zstd,3 --files-cache disabled '::{utcnow}' '${image}'`,
  restore: "mkdir out; cd out; borg extract --sparse \"::$(borg list --last 1 --format '{archive}')\"",
};

/** The environment by which a program of the AWS SDK's habits reaches a server. */
export function awsEnv({ endpoint, accessKey, secretKey }: S3Place): Record<string, string> {
  return {
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
  };
}
