/** How each peer is asked to do what varve does. */
import { awsEnv, PASSWORD, type Program } from "./programs.ts";

/** The peers that are installed. */
export function installedPeers(): Program[] {
  return [restic, rustic, borg, bupstash, benji].flatMap((program) => {
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

const bupstash: Peer = {
  name: "bupstash",
  version: "bupstash --version",
  settings: "zstd 3, its default; it always encrypts; without a send log",
  speaksS3: false,
  env: ({ folder, repository }) => ({
    BUPSTASH_REPOSITORY: repository,
    BUPSTASH_KEY: `${folder}/key`,
    XDG_CACHE_HOME: `${folder}/cache`,
    XDG_STATE_HOME: `${folder}/state`,
  }),
  init: "bupstash init && bupstash new-key -o key",
  backUp: ({ image }) => `bupstash put -q '${image}'`,
  restore: 'mkdir out; bupstash get -q "id=$(bupstash list -q | tail -n 1 | cut -d \'"\' -f 2)" >out/db',
};

const BENJI = "benji --log-level ERROR -c benji.yaml";
/** As its documentation sets it up, with the transform for compression. */
const BENJI_SETTINGS = `
configurationVersion: "1"
databaseEngine: sqlite:///repository/benji.sqlite
logFile: /dev/null
defaultStorage: storage
storages:
  - name: storage
    module: file
    storageId: 1
    configuration: { path: repository/data, activeTransforms: [zstd] }
ios:
  - name: file
    module: file
transforms:
  - name: zstd
    module: zstd
    configuration: { level: 3 }
`;

const benji: Peer = {
  name: "benji",
  version:
    `benji --log-level ERROR -m -c /dev/stdin version-info <<'END' | grep -m 1 '"version"' | cut -d '"' -f 4${BENJI_SETTINGS}END`,
  settings: "zstd 3, no encryption; it is given what `rbd diff` says of the changes, and reads these",
  speaksS3: false,
  env: () => ({}),
  init: `mkdir -p repository/data; cat >benji.yaml <<'END'${BENJI_SETTINGS}END
${BENJI} database-init`,
  // The backup with hints is always the one after that without.
  backUp: ({ image, hints }) =>
    `${BENJI} backup ${hints === undefined ? "-u one" : `-f one -r '${hints}'`} file:'${image}' db`,
  restore: `mkdir out; ${BENJI} restore --sparse one file:out/db`,
};
