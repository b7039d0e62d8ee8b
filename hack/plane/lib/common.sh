# shellcheck shell=bash disable=SC2034
# Names and helpers for the other scripts.

log() { printf 'plane: %s\n' "$*" >&2; }
fail() { log "$*"; exit 1; }

# The version that module FOLDER's go.mod requires of MODULE, without the leading v.
pinned() { awk -v module="$2" '$1 == "require" { $0 = $2 " " $3 } $1 == module { print substr($2, 2); exit }' "$HERE/$1/go.mod"; }

KUBERNETES_VERSION=$(pinned kubernetes k8s.io/kubernetes)
ETCD_VERSION=$(pinned etcd go.etcd.io/etcd/server/v3)
KWOK_VERSION=$(pinned kwok sigs.k8s.io/kwok)
HELM_VERSION=$(pinned helm helm.sh/helm/v4)
JAEGER_VERSION=$(pinned jaeger github.com/jaegertracing/jaeger)

CACHE=${KANARY_PLANE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kanary/plane}
MACHINE=$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
BIN=$CACHE/kubernetes-${KUBERNETES_VERSION}_etcd-${ETCD_VERSION}_kwok-${KWOK_VERSION}_$MACHINE
CURRENT=$CACHE/current # a symbolic link to the default plane's folder
MARKER=.kanary-plane   # stop removes only folders that hold this file
NODES=10

# Path of program NAME. Prebuilt programs take precedence.
program() {
  if [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/$1 ]]; then
    printf '%s\n' "$KUBEBUILDER_ASSETS/$1"
  elif [[ $1 == prometheus && ! -x $BIN/prometheus ]]; then
    command -v prometheus
  elif [[ $1 == helm ]]; then
    # A folder of its own, so that another version of Helm does not build the others again.
    printf '%s\n' "$CACHE/helm-${HELM_VERSION}_$MACHINE/helm"
  elif [[ $1 == jaeger ]]; then
    printf '%s\n' "$CACHE/jaeger-${JAEGER_VERSION}_$MACHINE/jaeger"
  else
    printf '%s\n' "$BIN/$1"
  fi
}

not() { ! "$@"; }

# Repeats COMMAND until it succeeds, for at most SECONDS.
poll() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

# The process ID of NAME, if it still runs and was started by this plane: the ID may have been
# reused by another process. Every program is started by its own name and with a path inside DIR
# in its arguments, which the processes of other planes do not have.
pid_of() {
  local pid args
  pid=$(cat "$DIR/pids/$1" 2>/dev/null) || return 1
  mapfile -d '' -t args 2>/dev/null <"/proc/$pid/cmdline" || return 1
  [[ ${args[0]:-} == */"$1" && ${args[*]} == *"$DIR/"* ]] || return 1
  printf '%s\n' "$pid"
}
