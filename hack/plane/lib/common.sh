# shellcheck shell=bash disable=SC2034
# Names and helpers for the other scripts.

log() { printf 'plane: %s\n' "$*" >&2; }
fail() { log "$*"; exit 1; }

# The version that module FOLDER's go.mod requires of MODULE, without the leading v.
pinned() { awk -v module="$2" '$1 == "require" { $0 = $2 " " $3 } $1 == module { print substr($2, 2); exit }' "$HERE/$1/go.mod"; }

# Folder of the version of Kubernetes: `kubernetes`, or that of another one, such as `kubernetes-1.29`.
KUBERNETES=kubernetes${KANARY_PLANE_KUBERNETES:+-$KANARY_PLANE_KUBERNETES}
[[ -f $HERE/$KUBERNETES/go.mod ]] || fail "KANARY_PLANE_KUBERNETES is $KANARY_PLANE_KUBERNETES: there is no $HERE/$KUBERNETES"
KUBERNETES_VERSION=$(pinned "$KUBERNETES" k8s.io/kubernetes)
ETCD_VERSION=$(pinned etcd go.etcd.io/etcd/server/v3)
KWOK_VERSION=$(pinned kwok sigs.k8s.io/kwok)
HELM_VERSION=$(pinned helm helm.sh/helm/v4)
JAEGER_VERSION=$(pinned jaeger github.com/jaegertracing/jaeger)
KREW_VERSION=$(pinned krew sigs.k8s.io/krew)
LUA_VERSION=$(pinned lua github.com/yuin/gopher-lua)

CACHE=${KANARY_PLANE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kanary/plane}
MACHINE=$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
BIN=$CACHE/kubernetes-$(pinned kubernetes k8s.io/kubernetes)_etcd-${ETCD_VERSION}_kwok-${KWOK_VERSION}_$MACHINE
# The programs of Kubernetes. Another version shares the other programs.
KUBE_BIN=$BIN
[[ $KUBERNETES == kubernetes ]] || KUBE_BIN=$CACHE/kubernetes-${KUBERNETES_VERSION}_$MACHINE
CURRENT=$CACHE/current # a symbolic link to the default plane's folder
MARKER=.kanary-plane   # stop removes only folders that hold this file
NODES=10

# Version of a program that planes do not need.
version_of() {
  case $1 in
    helm) printf '%s\n' "$HELM_VERSION" ;;
    jaeger) printf '%s\n' "$JAEGER_VERSION" ;;
    krew) printf '%s\n' "$KREW_VERSION" ;;
    lua) printf '%s\n' "$LUA_VERSION" ;;
  esac
}

# Paths of programs that are not the plane's own, by name. Scripts that use this library add theirs.
declare -A PROGRAMS=()

# Path of program NAME. Prebuilt programs take precedence.
program() {
  if [[ -n ${PROGRAMS[$1]:-} ]]; then
    printf '%s\n' "${PROGRAMS[$1]}"
  elif [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/$1 ]]; then
    printf '%s\n' "$KUBEBUILDER_ASSETS/$1"
  elif [[ ($1 == prometheus || $1 == promtool) && ! -x $BIN/$1 ]]; then
    command -v "$1"
  elif [[ -n $(version_of "$1") ]]; then
    # A folder of its own, so that another version of it does not build the others again.
    printf '%s\n' "$CACHE/$1-$(version_of "$1")_$MACHINE/$1"
  elif [[ $1 == kube* ]]; then
    printf '%s\n' "$KUBE_BIN/$1"
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
