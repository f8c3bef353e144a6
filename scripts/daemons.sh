# Sourced by ceph-up, ceph-down, minio-up and minio-down: starts and ends daemons whose whole state is below one folder.
# A pid file holds "PID STARTTIME" (field 22 of /proc/PID/stat), so that another process that got the same number later
# is never taken for the daemon.

# starttime PID: prints when the process began, in ticks since boot; fails if it is gone or a zombie.
starttime() {
  local fields
  fields=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -r -a fields <<<"${fields##*) }" # behind the name, which may hold anything
  [ "${fields[0]}" != Z ] && echo "${fields[19]}"
}

# alive NAME: whether the daemon of that pid file runs.
alive() {
  local pid started
  [ -s "$DIR/run/$1.pid" ] && read -r pid started <"$DIR/run/$1.pid" && [ "$(starttime "$pid")" = "$started" ]
}

# start NAME COMMAND...: in a session of its own, without the lock's descriptor, its output in log/NAME.out.
start() {
  local name=$1 pid started
  shift
  setsid "$@" </dev/null >"$DIR/log/$name.out" 2>&1 9>&- &
  pid=$!
  disown
  started=$(starttime $pid) || die "$name died at once"
  echo "$pid $started" >"$DIR/run/$name.pid"
}

# stop NAME: SIGTERM, and SIGKILL if it is still there after 15 seconds.
stop() {
  local name=$1 pid started
  if alive "$name"; then
    read -r pid started <"$DIR/run/$name.pid"
    kill -TERM "$pid" 2>/dev/null || true
    until_or 150 gone "$name" || kill -KILL "$pid" 2>/dev/null || true
    until_or 50 gone "$name" || die "$name ($pid) does not end"
  fi
  rm -f "$DIR/run/$name.pid"
}

gone() { ! alive "$1"; }

# until_or N COMMAND...: repeats the command every 0.1 seconds until it succeeds; fails after N times.
until_or() {
  local left=$1
  shift
  until "$@"; do
    left=$((left - 1))
    [ $left -gt 0 ] || return 1
    sleep 0.1
  done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port: puts a loopback port below the ephemeral range, not handed out before in this run, into PORT.
free_port() {
  local port
  for _ in $(seq 200); do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
    [[ " ${TAKEN_PORTS:-} " == *" $port "* ]] && continue
    listens "$port" && continue
    TAKEN_PORTS="${TAKEN_PORTS:-} $port" PORT=$port
    return
  done
  die "no free port"
}

# random_hex N: N random bytes as hexadecimal digits.
random_hex() { od -An -v -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# open_folder PATH: makes the folder, sets DIR to it, and locks it until the script ends.
open_folder() {
  mkdir -p "$1"
  DIR=$(cd "$1" && pwd -P)
  [[ $DIR == *[!A-Za-z0-9._/+@:=,-]* ]] && die "the path may not hold blanks or odd characters: $DIR"
  exec 9>"$DIR/.lock"
  flock -w 120 9 || die "$DIR is locked"
  mkdir -p "$DIR"/{run,log,data}
}

# die MESSAGE: ends the script with the message and the last lines of every daemon's output.
die() {
  echo "${0##*/}: $*" >&2
  local file
  for file in "${DIR:-/nonexistent}"/log/*.out; do
    [ -s "$file" ] && { echo "--- $file"; tail -n 15 "$file"; } >&2
  done
  exit 1
}
