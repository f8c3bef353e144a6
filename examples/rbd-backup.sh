#!/usr/bin/env bash
# rbd-backup.sh POOL[/NAMESPACE]/IMAGE PROJECT/VOLUME [varve backup option...]
#
# The nightly backup of one Ceph RBD image, for whoever wants a script of their own: `varve backup PROJECT/VOLUME rbd:IMAGE`
# does the same by itself. It takes a snapshot, sends what changed since the newest snapshot that was backed up and is still
# there (or everything, where there is none), and only then removes its older snapshots. So the image carries one snapshot
# between two runs. A run that fails removes the snapshot that it took, and leaves the older ones for the next run.
#
# Where and how to store comes from varve's own environment; in /etc/cron.d, with `varve`, `rbd` and `ceph` in PATH:
#
#   PATH=/usr/local/bin:/usr/bin:/bin
#   VARVE_REPO=s3://backups/ceph
#   VARVE_PASSPHRASE_FILE=/etc/varve/passphrase
#   AWS_SHARED_CREDENTIALS_FILE=/etc/varve/credentials
#   CEPH_ARGS=--id backup
#   15 2 * * *   backup  /usr/local/bin/rbd-backup.sh rbd/vm1 acme/vm1 --tag nightly
#   45 2 * * *   backup  /usr/local/bin/rbd-backup.sh rbd/vm2 acme/vm2 --tag nightly
#
# The Ceph user makes and removes snapshots, so reading is not enough:
#
#   ceph auth get-or-create client.backup mon 'profile rbd' osd 'profile rbd pool=rbd'
#
# It says nothing when all went well, so that cron mails only failures, and full images of a volume that has restore points,
# because the snapshots that were backed up last are gone. The file system in the image is caught as it
# would be after a power cut; for more, freeze it around the snapshot (fsfreeze, or the guest agent's fs-freeze).
#
# Exit codes:
#
#     0   backed up, and the older snapshots are gone
#     2   the command line or the environment is wrong; nothing was done
#    20   rbd or ceph failed; not backed up
#    21   backed up, but an older snapshot stays, such as one that is protected; the line says which
#    22   a restore of the image was not finished (rbd-restore.sh): it is a mixture; nothing was done
#    75   another run of this image is going on here (EX_TEMPFAIL); nothing was done
#   else  not backed up, with varve's exit code: 1 failed, 4 there is no such project, 11 other hosts were in the way,
#         13 wrong passphrase, 130 interrupted, and so on
#
# Its snapshots are called varve-, eight digits for the repository and volume, and the time. Others are not touched, so one
# image may go to several volumes. Two runs of one image on a host do not overlap; those of several hosts do no harm to
# each other: one that loses its snapshot to another begins anew.
set -euo pipefail

readonly CEPH_FAILED=20 SNAPSHOT_STAYS=21 MIXTURE=22 CONFLICT=11 BUSY=75
readonly ATTEMPTS=3 # where other hosts back up the same image to the same volume
readonly LOOK_BACK=3 # points before the latest that may be a base

complain() {
  printf 'rbd-backup: %s (%s): %s\n' "$image" "$volume" "$1" >&2
}

fail() {
  complain "$2"
  exit "$1"
}

usage() {
  printf 'rbd-backup: %s; usage: rbd-backup.sh POOL[/NAMESPACE]/IMAGE PROJECT/VOLUME [option...]\n' "$1" >&2
  exit 2
}

# ask WHAT COMMAND...: prints what the command prints. Where it fails, one line has the last that it said.
ask() {
  local what=$1 code=0 said
  shift
  { said=$("$@" 2>&1 >&3) || code=$?; } 3>&1
  [[ $code != 0 ]] || return 0
  complain "cannot $what: $(tail -n 1 <<<"$said")"
  return "$CEPH_FAILED"
}

# The image's snapshots, oldest first: `ID PROTECTED NAME` each, with the name as JSON has it.
snapshots() {
  local list
  list=$(ask 'list the snapshots' rbd snap ls --format json "$image") || return
  sed 's/{"id"/\n&/g' <<<"$list" |
    sed -nE 's/^\{"id":([0-9]+),"name":"(([^"\\]|\\.)*)","size":[0-9]+,"protected":"?(true|false).*/\1 \4 \2/p'
}

# id_of NAME LIST: the id of the snapshot in the list of `snapshots`; nothing where it is not there.
id_of() {
  local line
  while IFS= read -r line; do
    if [[ ${line#* * } == "$1" ]]; then printf '%s\n' "${line%% *}"; fi
  done <<<"$2"
}

# are_there ID...: whether the image has all of these snapshots; returns 1 where it has not.
are_there() {
  local list id
  list=$(snapshots) || return
  for id in "$@"; do grep -q "^$id " <<<"$list" || return 1; done
}

# A snapshot must not be removed while it is read, so a command that reads runs in the background: a signal to this
# script is passed on, and then waited out.
supervise() {
  local child='' signalled=yes code
  trap 'signalled=yes; kill "$child" 2>/dev/null || true' INT TERM HUP
  "$@" &
  child=$!
  while [[ $signalled == yes ]]; do
    signalled=no code=0
    wait "$child" || code=$?
  done
  trap - INT TERM HUP
  return "$code"
}

# export_diff SNAPSHOT ID [FROM_SNAPSHOT ID]: what varve runs. rbd gives a mixture, and exits with 0, where a snapshot is
# removed while it is read: then varve must not hear of a good end.
export_diff() {
  local code=0
  supervise rbd export-diff --no-progress ${3+--from-snap "$3"} "$image" --snap "$1" -
  are_there "$2" ${4+"$4"} || code=$?
  [[ $code != 1 ]] || complain 'a snapshot was removed while it was read'
  return "$code"
}

# show POINT FIELD: of the volume's points. Returns 4 where there is none. A varve that cannot tell for another reason (a
# wrong passphrase, a store that does not answer) must not lead to a full backup.
show() {
  local code=0 said
  { said=$(varve show "$volume@$1" --field "$2" 2>&1 >&3) || code=$?; } 3>&1
  case $code in
    0 | 3 | 4) ;; # 3: another point is damaged, which the backup says
    *) complain "cannot read the last backup: $(tail -n 1 <<<"$said")" ;;
  esac
  [[ $code != 3 ]] || code=0
  return "$code"
}

# find_base LIST: sets `base` and `base_id` to the snapshot of the newest point that the image still has. Says so where there
# are points, and none of them can be the base.
find_base() {
  local list=$1 n code point name id point_source point_id looked=0
  base='' base_id=''
  for ((n = 0; n <= LOOK_BACK; n++)); do
    code=0
    point=$(show "~$n" backup) || code=$?
    if [[ $code == 4 ]]; then break; fi
    if [[ $code != 0 ]]; then exit "$code"; fi
    ((++looked))
    if [[ -z $point ]]; then continue; fi
    name=$(show "id:$point" to_snapshot) || exit
    if [[ -z $name ]]; then continue; fi
    id=$(id_of "$name" "$list")
    if [[ -z $id ]]; then continue; fi
    point_source=$(show "id:$point" source_id) || exit
    point_id=$(show "id:$point" source_snapshot_id) || exit
    if [[ $point_source == "$source_id" && $point_id == "$id" ]]; then
      base=$name base_id=$id
      return
    fi
    if [[ -z $point_source || -z $point_id ]]; then
      complain "the backup of the snapshot $name does not say which image it is of, and is no base"
    else
      complain "the snapshot $name is not the one that was backed up under this name, and is no base"
    fi
  done
  [[ $looked == 0 ]] || complain "sending the full image: it no longer has the snapshot of any recent restore point"
}

# Which image that is, whatever it is called: cluster, pool and image by their ids, as `varve backup … rbd:` has it.
identify() {
  local cluster pool_id image_id line
  cluster=$(ask 'reach the cluster' ceph fsid)
  pool_id=$(ask 'list the pools' ceph osd lspools --format json | sed 's/{"poolnum"/\n&/g' |
    sed -nE 's/^\{"poolnum":([0-9]+),"poolname":"(([^"\\]|\\.)*)".*/\1 \2/p' |
    while IFS= read -r line; do [[ ${line#* } != "${image%%/*}" ]] || printf '%s\n' "${line%% *}"; done)
  [[ -n $pool_id ]] || fail "$CEPH_FAILED" "there is no pool ${image%%/*}"
  image_id=$(ask 'look at the image' rbd info --format json "$image" |
    sed -nE 's/^\{"name":"([^"\\]|\\.)*","id":"([^"]+)".*/\2/p')
  [[ -n $cluster && -n $image_id ]] || fail "$CEPH_FAILED" 'cannot tell which image that is by its ids'
  source_id=$cluster/$pool_id/$image_id
}

# rbd-restore.sh marks the image until it is a point again.
refuse_mixture() {
  local metadata
  metadata=$(ask 'read the metadata' rbd image-meta list --format json "$image")
  [[ $metadata != *'"varve-restore":'* ]] ||
    fail "$MIXTURE" 'a restore of the image was not finished, it is a mixture: run rbd-restore.sh again'
}

remove_taken() {
  [[ -n $new ]] || return 0
  ask "remove the snapshot $new, which the next run does" rbd snap rm --no-progress "$image" --snap "$new" || true
  new=
}

# A snapshot may have been made though `snap create` failed, as when the connection broke: then it goes, too.
drop_unmade() {
  local list
  list=$(snapshots) || list=
  [[ -n $(id_of "$new" "$list") ]] || new=
}

# One attempt. Returns varve's exit code, or CONFLICT where another host removed what it read. (`set -e` does not count in
# here: whatever may fail is asked.)
back_up() {
  local list options used code=0 lost=0
  list=$(snapshots) || exit
  find_base "$list"
  new=$own$(date --utc +%Y%m%dT%H%M%S%3NZ)-$(printf %04x "$RANDOM")
  ask 'make a snapshot' rbd snap create --no-progress "$image" --snap "$new" || { drop_unmade; exit "$CEPH_FAILED"; }
  list=$(snapshots) || exit
  new_id=$(id_of "$new" "$list")
  [[ -n $new_id ]] || fail "$CEPH_FAILED" "cannot find the snapshot $new, which was just made"
  used=("$new" "$new_id")
  options=(--source-id "$source_id" --source-snapshot-id "$new_id")
  if [[ -n $base ]]; then
    options+=(--from-snapshot-id "$base_id")
    used+=("$base" "$base_id")
  fi
  supervise varve backup "$volume" "${options[@]}" "$@" --exec -- \
    bash "$0" --export "$image" "$volume" "${used[@]}" || code=$?
  [[ $code != 1 ]] || are_there "$new_id" ${base_id:+"$base_id"} || lost=$?
  if [[ $lost == 1 ]]; then code=$CONFLICT; fi
  if [[ $code == 0 ]]; then new=; else remove_taken; fi
  return "$code"
}

# All of our own before the one that is backed up: the last one, and what runs left behind that were killed.
remove_older() {
  local list id protected name said stays=
  list=$(snapshots) || fail "$SNAPSHOT_STAYS" 'backed up; the older snapshots stay until the next run'
  while read -r id protected name; do
    [[ $name =~ ^$own[0-9]{8}T[0-9]{9}Z-[0-9a-f]{4}$ && $id -lt $new_id ]] || continue
    if [[ $protected == true ]]; then
      complain "backed up; the old snapshot $name stays: it is protected, as for a clone"
      stays=yes
    elif ! said=$(rbd snap rm --no-progress "$image" --snap "$name" 2>&1) && are_there "$id"; then
      complain "backed up; the old snapshot $name stays: $(tail -n 1 <<<"$said")"
      stays=yes
    fi
  done <<<"$list"
  [[ -z $stays ]] || exit "$SNAPSHOT_STAYS"
}

# lock FOLDER: until this script ends. The folder is ours alone, or anybody on this host could keep us waiting.
lock() {
  mkdir -p -m 0700 "$1"
  [[ -d $1 && ! -L $1 && -O $1 && -z $(find "$1" -maxdepth 0 -perm /077) ]] ||
    fail 2 "the lock folder $1 has to be ours, and closed to everybody else (mode 0700)"
  local name=${image//%/%25}
  exec 9>>"$1/${name//\//%2F}.lock"
  flock --nonblock 9 || fail "$BUSY" 'another run is going on'
}

if [[ ${1-} == --export ]]; then
  readonly image=$2 volume=$3
  export_diff "${@:4}"
  exit
fi

[[ $# -ge 2 && $1 == ?*/?* && $2 == ?*/?* && $1 != -* && $2 != -* ]] || usage 'two names are needed'
[[ $1 != *@* ]] || usage "\"$1\" names a snapshot, and it takes one itself"
[[ $2 != *@* ]] || usage "\"$2\" names a point, and each gets its name by itself"
[[ -n ${VARVE_REPO-} ]] || usage 'VARVE_REPO is not set, which says where to store'
for word in "${@:3}"; do
  [[ $word != --repo && $word != --repo=* ]] || usage 'the repository is VARVE_REPO, not --repo'
done

readonly image=$1 volume=$2
shift 2
own=varve-$(printf '%s\n' "$VARVE_REPO" "$volume" | sha256sum | head -c 8)-
readonly own

lock "${RBD_BACKUP_LOCK_FOLDER:-${XDG_STATE_HOME:-$HOME/.local/state}/rbd-backup}"
new=
trap remove_taken EXIT
identify
refuse_mixture
for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
  code=0
  back_up "$@" || code=$?
  [[ $code == "$CONFLICT" ]] || break
done
[[ $code == 0 ]] || fail "$code" "not backed up: varve ended with $code, and said why above"
remove_older
