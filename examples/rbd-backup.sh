#!/usr/bin/env bash
# rbd-backup.sh POOL/IMAGE PROJECT/VOLUME [varve backup option...]
#
# The nightly backup of one Ceph RBD image: takes a snapshot, sends what changed since the last snapshot that was backed
# up (or everything, where that one is gone), and only then drops the older snapshot. So the image carries one snapshot
# between two runs. A run that fails removes the snapshot that it took, and leaves the older one for the next run.
#
# Where and how to store comes from varve's own environment; in a crontab, with `varve` and `rbd` in PATH:
#
#   PATH=/usr/local/bin:/usr/bin:/bin
#   VARVE_REPO=s3://backups/ceph
#   VARVE_PASSPHRASE_FILE=/etc/varve/passphrase
#   AWS_SHARED_CREDENTIALS_FILE=/etc/varve/credentials
#   15 2 * * *   backup  /usr/local/bin/rbd-backup.sh rbd/vm1 acme/vm1 --tag nightly
#   45 2 * * *   backup  /usr/local/bin/rbd-backup.sh rbd/vm2 acme/vm2 --tag nightly
#
# It says nothing when all went well, so that cron mails only what failed. The file system in the image is caught as it
# would be after a power cut; for more, freeze it around the snapshot (fsfreeze, or the guest agent's fs-freeze).
# Two runs of one image do not overlap: the second ends at once, with 75 (EX_TEMPFAIL). A run that was killed (kill -9,
# power) may leave a snapshot behind, which `rbd snap ls` shows; it does no harm to later runs.
set -euo pipefail

readonly PREFIX=varve- # of the snapshots that are ours to drop
readonly LOCK_FOLDER=${RBD_BACKUP_LOCK_FOLDER:-/run/lock}

fail() {
  printf 'rbd-backup: %s\n' "$2" >&2
  exit "$1"
}

# The snapshot of the volume's newest backup; nothing where there is no backup yet. A varve that cannot tell for another
# reason (a wrong passphrase, a store that does not answer) must not lead to a full backup. What varve said is shown only
# then, or the first night would complain.
last_backed_up() {
  local code=0 said
  { said=$(varve show "$volume" --field to_snapshot 2>&1 >&3) || code=$?; } 3>&1
  case $code in
    0 | 4 | 10) ;; # 4: no backup of it yet, 10: no repository yet
    *) fail "$code" "cannot read the last backup of $volume: $said" ;;
  esac
}

has_snapshot() {
  local code=0
  rbd info "$image" --snap "$1" >/dev/null 2>&1 || code=$?
  [[ $code == 0 || $code == 2 ]] || fail "$code" "cannot look at the snapshots of $image" # 2: ENOENT
  return "$code"
}

# A snapshot must not be removed while it is read, so varve runs in the background: a signal to this script is passed on,
# and then waited out.
run_varve() {
  local child='' signalled=yes code
  trap 'signalled=yes; kill "$child" 2>/dev/null || true' INT TERM HUP
  varve backup "$volume" "$@" &
  child=$!
  while [[ $signalled == yes ]]; do
    signalled=no code=0
    wait "$child" || code=$?
  done
  trap - INT TERM HUP
  return "$code"
}

remove_taken() {
  [[ -z $taken ]] || rbd snap rm --no-progress "$image" --snap "$taken"
}

[[ $# -ge 2 && $1 == */* && $2 == */* ]] || fail 2 "usage: rbd-backup.sh POOL/IMAGE PROJECT/VOLUME [option...]"
readonly image=$1 volume=$2
shift 2

exec 9>>"$LOCK_FOLDER/rbd-backup-${image//\//-}.lock"
flock --nonblock 9 || fail 75 "another backup of $image is running"

taken=
trap remove_taken EXIT

last=$(last_backed_up)
new=$PREFIX$(date --utc +%Y%m%dT%H%M%S.%3NZ)
rbd snap create --no-progress "$image" --snap "$new"
taken=$new

since=()
if [[ -n $last ]] && has_snapshot "$last"; then since=(--from-snap "$last"); fi

run_varve "$@" --exec -- rbd export-diff --no-progress "${since[@]}" "$image" --snap "$new" -
taken=

if [[ ${#since[@]} -gt 0 && $last == "$PREFIX"* ]]; then
  rbd snap rm --no-progress "$image" --snap "$last"
fi
