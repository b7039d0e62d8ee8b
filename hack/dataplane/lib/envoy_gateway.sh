# shellcheck shell=bash
# Starts Envoy Gateway and its Envoy, for sessionPersistence, which istiod ignores.

start_envoy_gateway() {
  apply_crds "$ENVOY_GATEWAY"
  kube create namespace eg-system >/dev/null
  start_session_plane
  kube apply -f "$OWN/manifests/session_gateway.yaml" >/dev/null
  keep_secret envoy
  start_session_envoy
  printf 'export KANARY_DATAPLANE_SESSION_GATEWAY=%q\n' 127.0.0.1:10080 >>"$DIR/env"
}

# keep_secret NAME: writes the files of a secret to a folder of that name.
keep_secret() {
  local file
  mkdir -p "$DIR/secrets/$1"
  for file in ca.crt tls.crt tls.key; do
    kube -n eg-system get secret "$1" -o "jsonpath={.data.${file/./\\.}}" | base64 -d >"$DIR/secrets/$1/$file"
  done
}

start_session_plane() {
  local name=envoy-gateway
  cp "$OWN/envoy-gateway.yaml" "$DIR/envoy-gateway.yaml"
  export KUBECONFIG=$DIR/kubeconfigs/admin ENVOY_GATEWAY_NAMESPACE=eg-system
  "$(program $name)" certgen --disable-topology-injector >>"$DIR/logs/$name.log" 2>&1 || fail "Envoy Gateway made no certificates"
  keep_secret $name
  # Not by spawn, because the program needs a file system of its own.
  setsid unshare --mount "$OWN/lib/with-certs" "$DIR/secrets/$name" \
    "$(program $name)" server --config-path "$DIR/envoy-gateway.yaml" </dev/null >>"$DIR/logs/$name.log" 2>&1 &
  echo $! >"$DIR/pids/$name"
  disown
  await $name 60 curl -sf http://127.0.0.1:8081/readyz
}

start_session_envoy() {
  sed "s,SECRETS,$DIR/secrets/envoy,g" "$OWN/session-envoy.yaml" >"$DIR/session-envoy.yaml"
  spawn session-envoy --config-path "$DIR/session-envoy.yaml" --concurrency 1 --disable-hot-restart --log-level warning
  await session-envoy 60 curl -sf http://127.0.0.1:15001/ready
}
