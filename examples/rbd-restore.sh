#!/usr/bin/env bash
# rbd-restore.sh [--no-safety-snapshot] PROJECT/VOLUME[@POINT] POOL[/NAMESPACE]/IMAGE
#
# Brings a Ceph RBD image that is there back to a restore point (the latest if none is named), in place: nobody may use the
# image meanwhile. It finds a snapshot of the image that was backed up, rolls the image back to it, has varve send the
# difference from there to the point, and compares the whole image with the point in the end. So it costs what differs. For
# an image that is gone, or that has no such snapshot, there is `varve restore … --exec -- rbd import - NEW-IMAGE`.
#
# First it takes a snapshot of the image as it is, before-restore-TIME, unless it is told --no-safety-snapshot: whatever
# happens, `rbd snap rollback` to it undoes all. It stays in the end; remove it once you are sure.
#
# From the moment that the image is changed until it is known to be the point, the image has the metadata varve-restore
# (`rbd image-meta list`): it is a mixture then, and neither rbd-backup.sh nor `varve backup … rbd:` makes a backup of it. The
# same command goes on, also after kill -9, with the point that it began with: "the latest" may be another one by then. Every
# failure ends with a line that says which state the image is in, and how to go on; so does a run that stops early and finds
# the mark. A signal is waited out where the image is being changed.
#
# Where the backups are comes from varve's own environment (VARVE_REPO and so on), which image from Ceph's (CEPH_ARGS).
#
# Exit codes:
#
#     0   the image is what the point holds, which was compared
#     2   the command line or the environment is wrong; this run changed nothing
#    20   rbd or ceph failed; the line says which state the image is in
#    22   somebody uses the image; the line says which state it is in
#    23   no snapshot of the image was backed up to the volume; this run changed nothing
#    24   the image is not what the point holds; the line says how to go on
#    75   a backup or another restore of this image is going on here (EX_TEMPFAIL); this run changed nothing
#   else  varve's exit code: 4 there is no such point, 3 damage, 13 wrong passphrase, 130 interrupted, and so on; the line
#         says which state the image is in
set -euo pipefail

readonly CEPH_FAILED=20 IN_USE=22 NOTHING_COMMON=23 DIFFERS=24 BUSY=75
readonly MARK=varve-restore MIXTURE='a mixture. To go on: run the same command again'

complain() {
  printf 'rbd-restore: %s (%s): %s\n' "$image" "$spec" "$1" >&2
}

fail() {
  complain "$2"
  exit "$1"
}

usage() {
  printf 'rbd-restore: %s; usage: rbd-restore.sh [--no-safety-snapshot] PROJECT/VOLUME[@POINT] POOL[/NAMESPACE]/IMAGE\n' \
    "$1" >&2
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

# The image's snapshots, newest first: `ID NAME` each, with the name as JSON has it.
snapshots() {
  local list
  list=$(ask 'list the snapshots' rbd snap ls --format json "$image")
  sed 's/{"id"/\n&/g' <<<"$list" | sed -nE 's/^\{"id":([0-9]+),"name":"(([^"\\]|\\.)*)".*/\1 \2/p' | tac
}

# show POINT FIELD: of the volume's points. Returns 4 where there is none.
show() {
  local code=0 said
  { said=$(varve show "$volume@$1" --field "$2" 2>&1 >&3) || code=$?; } 3>&1
  case $code in
    0 | 4) ;;
    3) code=0 ;; # another point is damaged
    *) complain "cannot read the backups: $(tail -n 1 <<<"$said")" ;;
  esac
  return "$code"
}

# A signal to this script is passed on to the command, and waited out.
supervise() {
  local child='' signalled=yes code
  trap 'signalled=yes; kill "$child" 2>/dev/null || true' INT TERM HUP
  "$@" &
  child=$!
  while [[ $signalled == yes ]]; do
    signalled=no code=0
    wait "$child" || code=$?
  done
  wait_out_signals
  return "$code"
}

# From here on a signal ends no command, but the script once the command is done: `end_if_signalled`.
wait_out_signals() {
  trap 'pending=yes' INT TERM HUP
}

end_if_signalled() {
  [[ -z $pending ]] || exit 130
}

# The image is known by ids of cluster, pool and image, as rbd-backup.sh and `varve backup … rbd:` have them.
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

# Sets `point` to the id of the point to restore.
find_point() {
  local code=0
  point=$(varve show "$spec" --field backup) || code=$?
  [[ $code == 0 || ($code == 3 && -n $point) ]] || fail "$code" "$stopped: the point cannot be read"
}

# Sets `base` to a snapshot that the image has, and `base_point` to the point that is of it: the wanted point's own, or else
# the newest.
find_base() {
  local list id name found code point_source point_id
  base='' base_point=''
  list=$(snapshots)
  while IFS=' ' read -r id name; do
    [[ -n $name && $name != *\\* ]] || continue # names that JSON escapes are none of ours
    code=0
    found=$(show "snap:$name" backup) || code=$?
    if [[ $code == 4 ]]; then continue; fi
    [[ $code == 0 ]] || exit "$code"
    point_source=$(show "id:$found" source_id)
    point_id=$(show "id:$found" source_snapshot_id)
    # Of another image, or of an older snapshot of that name.
    [[ ${point_source:-$source_id} == "$source_id" && ${point_id:-$id} == "$id" ]] || continue
    if [[ -z $base || $found == "$point" ]]; then base=$name base_point=$found; fi
  done <<<"$list"
  [[ -z $base ]] || return 0
  local instead="restore to a new image: $new_image"
  if [[ -n $changing ]]; then changing="a mixture. To go on: $instead"; fi
  fail "$NOTHING_COMMON" "$stopped: no snapshot of the image was backed up to the volume; $instead"
}

refuse_users() {
  local users
  users=$(ask 'look who uses the image' rbd status --format json "$image" |
    sed 's/{"address"/\n&/g' | sed -nE 's/^\{"address":"([^"]*)".*/\1/p' | paste -sd ' ')
  [[ -z $users ]] || fail "$1" "$2: the image is in use at $users; stop the machine, or unmap it"
}

# Sets `left` to what the last restore of the image left, where it was not finished: the name of its safety snapshot, or
# `none`, and VOLUME@POINT. From here on this run ends with the image's state, too.
read_mark() {
  left=$(ask 'read the metadata' rbd image-meta list --format json "$image" |
    sed -nE "s/.*\"$MARK\":\"([^\"]*)\".*/\1/p")
  [[ -n $left ]] || return 0
  safety=${left%% *}
  changing=$MIXTURE stopped='cannot go on'
}

# Whatever happens, the image's state is the last that is said.
say_state() {
  local code=$?
  if [[ -n $changing ]]; then
    local back="; to go back: rbd snap rollback $image@$safety && rbd image-meta remove $image $MARK"
    [[ $safety != none ]] || back=
    complain "NOT USABLE: the image is $changing$back"
  fi
  exit "$code"
}

# Sets `point` to that of the restore that was not finished. Another point has to be named by its id.
take_over() {
  local wanted=${left#* }
  [[ $wanted == "$volume@"* && $spec != *"$point" ]] || return 0
  [[ $wanted == "$volume@$point" ]] || complain "going on with the restore of $wanted, which was not finished"
  point=${wanted#*@}
}

take_safety_snapshot() {
  if [[ $safety == none ]]; then return; fi
  safety=before-restore-$(date --utc +%Y%m%dT%H%M%S%3NZ)
  ask 'take the safety snapshot; nothing was changed' rbd snap create --no-progress "$image" --snap "$safety" >/dev/null
}

bring_to_point() {
  wait_out_signals
  ask "mark the image; $stopped" rbd image-meta set "$image" "$MARK" "$safety $volume@$point" >/dev/null
  changing=$MIXTURE
  end_if_signalled
  ask "roll back to $base" rbd snap rollback --no-progress "$image" --snap "$base" >/dev/null
  end_if_signalled
  [[ $base_point != "$point" ]] || return 0
  supervise varve restore --quiet "$volume@id:$point" --format rbd-diff --from "id:$base_point" --head \
    --exec -- rbd import-diff --no-progress - "$image"
}

# Reads the whole image, as nothing less tells that it is the point.
compare() {
  local codes=(0 0)
  changing='not compared with the point to the end. To go on: run the same command again'
  end_if_signalled
  trap - INT TERM HUP
  rbd export --no-progress "$image" - | varve verify --quiet "$volume@id:$point" --source - ||
    codes=("${PIPESTATUS[@]}")
  refuse_users "$IN_USE" 'cannot compare'
  [[ ${codes[0]} == 0 ]] || fail "$CEPH_FAILED" 'cannot read the image to compare it'
  if [[ ${codes[1]} == 3 ]]; then
    changing="not what the point holds. To go on: restore to a new image: $new_image"
    fail "$DIFFERS" "the image was not what was backed up at its snapshot $base, or is written to"
  fi
  [[ ${codes[1]} == 0 ]] || exit "${codes[1]}"
}

# lock FOLDER: until this script ends; the one of rbd-backup.sh.
lock() {
  mkdir -p -m 0700 "$1"
  [[ -d $1 && ! -L $1 && -O $1 && -z $(find "$1" -maxdepth 0 -perm /077) ]] ||
    fail 2 "the lock folder $1 has to be ours, and closed to everybody else (mode 0700)"
  local name=${image//%/%25}
  exec 9>>"$1/${name//\//%2F}.lock"
  flock --nonblock 9 ||
    fail "$BUSY" 'this run changed nothing: a backup or restore of the image is going on; wait until it has ended'
}

safety=
if [[ ${1-} == --no-safety-snapshot ]]; then
  safety=none
  shift
fi
[[ $# == 2 && $1 == ?*/?* && $2 == ?*/?* && $1 != -* && $2 != -* ]] || usage 'two names are needed'
[[ $2 != *@* ]] || usage "\"$2\" names a snapshot, and the image itself is restored"
[[ -n ${VARVE_REPO-} ]] || usage 'VARVE_REPO is not set, which says where the backups are'

readonly spec=$1 image=$2 volume=${1%%@*}
changing='' pending='' left='' stopped='nothing was changed'
trap say_state EXIT
lock "${RBD_BACKUP_LOCK_FOLDER:-${XDG_STATE_HOME:-$HOME/.local/state}/rbd-backup}"
read_mark
identify
find_point
if [[ -n $left ]]; then take_over; fi
readonly new_image="varve restore '$volume@id:$point' --exec -- rbd import --no-progress - NEW-IMAGE"
find_base
refuse_users "$IN_USE" "$stopped"
if [[ -z $left ]]; then take_safety_snapshot; fi
bring_to_point
compare
ask 'take the mark off the image' rbd image-meta remove "$image" "$MARK" >/dev/null
changing=
printf '%s is %s@%s, from its snapshot %s on\n' "$image" "$volume" "$point" "$base"
[[ $safety == none ]] ||
  printf 'what it was before is %s@%s; once you are sure: rbd snap rm %s@%s\n' "$image" "$safety" "$image" "$safety"
