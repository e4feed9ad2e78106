#!/usr/bin/env bash
# Runs a study on one machine of a TPU pod, or on a single TPU VM. See docs/pods.md.
#
#   worker.sh setup          makes the environment, once: the tested versions and JAX for TPU
#   worker.sh main FLAGS     setup, then the study in the foreground; ends with the study's exit code
#   worker.sh start FLAGS    main in the background, with a log and a file that holds its exit code
#   worker.sh status         one line: sweb_jax HOST none|running|lost, or sweb_jax HOST exited CODE
#   worker.sh log            the end of the log
#   worker.sh stop           asks the study to save and stop, and waits; after ten minutes it is killed
set -euo pipefail

script=$(readlink -f "${BASH_SOURCE[0]}")
root=$(dirname "$(dirname "$script")")
home=${SWEB_HOME:-$root.home}  # Beside the clone, which may be replaced.
host=$(hostname)
state=$home/state
log=$home/logs/$host.log
boot=$(cat /proc/sys/kernel/random/boot_id)

setup() {
  mkdir -p "$home"
  # The boot script, a login and the study itself may come at the same time.
  (
    flock 8
    make_environment
  ) 8> "$home/lock"
}

make_environment() {
  # TPU images of Ubuntu 22.04 have Python 3.10; uv brings one that was tested. Without ensurepip there is no venv.
  local python='' candidate version=''
  for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
    version=$("$candidate" -c 'import ensurepip, sys; print("py%d%d" % sys.version_info[:2])' 2>/dev/null || true)
    if [ -n "$version" ] && [ -f "$root/constraints/$version.txt" ]; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ] && [ -n "${PYTHON:-}" ]; then
    echo "worker.sh: PYTHON=$PYTHON is none of the tested versions: $(tested)" >&2
    exit 1
  fi
  [ -n "$python" ] || version=py311
  local made
  made=$(cat "$root/constraints/$version.txt" "$root/pyproject.toml" | sha256sum)
  if [ "$(cat "$home/venv/.complete" 2>/dev/null || true)" = "$made" ]; then
    return
  fi
  rm -rf "$home/venv"
  if [ -n "$python" ]; then
    "$python" -m venv "$home/venv"
  else
    python3 -m pip install --quiet --target "$home/uv" uv
    "$home/uv/bin/uv" venv --quiet --seed --python 3.11 "$home/venv"
  fi
  "$home/venv/bin/pip" install --quiet --constraint "$root/constraints/$version.txt" --editable "${root}[gcs,tpu]"
  echo "$made" > "$home/venv/.complete"  # An install that was cut short is done again.
}

tested() {
  basename --suffix=.txt "$root"/constraints/*.txt | tr '\n' ' '
}

main() {
  setup
  # A run that was killed leaves it behind, and the next one finds no TPU.
  rm -f /tmp/libtpu_lockfile
  cd "$root"
  exec "$home/venv/bin/python" -m sweb_jax.main --distributed=auto "$@"
}

running() {  # A number of before the last boot may be another process now.
  [ "$(cut -d ' ' -f 2 "$state/pid" 2>/dev/null)" = "$boot" ] && kill -0 "$(pid)" 2>/dev/null
}

pid() {
  cut -d ' ' -f 1 "$state/pid"
}

start() {
  mkdir -p "$state" "$home/logs"
  exec 7> "$state/lock"
  flock 7
  if running; then
    if printf '%s\0' "$@" | cmp --silent - "$state/flags"; then
      echo "worker.sh: the study already runs on $host" >&2
      return
    fi
    echo "worker.sh: another study runs on $host: $(tr '\0' ' ' < "$state/flags"); stop it first" >&2
    exit 1
  fi
  printf '%s\0' "$@" > "$state/flags"
  rm -f "$state/exit" "$state/pid"
  # In a session of its own: it outlives the login that started it.
  setsid bash "$script" background "$@" >> "$log" 2>&1 < /dev/null 7>&- &
  for _ in $(seq 100); do
    [ -f "$state/pid" ] && return
    sleep 0.1
  done
  echo "worker.sh: the study did not start on $host; see $log" >&2
  exit 1
}

background() {
  local code=0 child='' told=''
  # The signal goes to the study itself; this shell waits to write down how it ended.
  trap 'told=1; kill -TERM "$child" 2>/dev/null || true' TERM
  echo "$$ $boot" > "$state/pid.new"
  mv "$state/pid.new" "$state/pid"
  echo "== $(date -u +%FT%TZ) $host: $*"
  bash "$script" main "$@" &
  child=$!
  [ -z "$told" ] || kill -TERM "$child" 2>/dev/null || true
  wait "$child" || code=$?
  while [ -n "$told" ]; do  # The signal ended the wait, not yet the study.
    told='' code=0
    wait "$child" || code=$?
  done
  [ "$code" != 143 ] || code=75  # The signal came before the study, while the environment was made.
  echo "== $(date -u +%FT%TZ) $host: exit code $code"
  echo "$code" > "$state/exit.new"
  mv "$state/exit.new" "$state/exit"
}

status() {
  if [ -f "$state/exit" ]; then
    echo "sweb_jax $host exited $(cat "$state/exit")"
  elif running; then
    echo "sweb_jax $host running"
  elif [ -f "$state/pid" ]; then
    echo "sweb_jax $host lost"
  else
    echo "sweb_jax $host none"
  fi
}

case ${1:-} in
  setup) setup ;;
  main | start | background) "$@" ;;
  status) status ;;
  log) if [ -f "$log" ]; then tail -n 40 "$log" | sed "s/^/[$host] /"; else echo "[$host] no log yet"; fi ;;
  stop)
    if running; then
      kill -TERM "$(pid)"
      for _ in $(seq 600); do
        running || break
        sleep 1
      done
      if running; then
        echo "worker.sh: the study on $host did not stop within 600 s and is killed" >&2
        kill -KILL -- "-$(pid)"
        for _ in $(seq 10); do
          running || break
          sleep 1
        done
        status
        exit 1
      fi
    fi
    status
    ;;
  *)
    echo "usage: worker.sh setup | main FLAGS | start FLAGS | status | log | stop" >&2
    exit 2
    ;;
esac
