# shellcheck shell=bash disable=SC2016
# Starts istiod, the backend, and the Envoy that is the gateway.

start_istio() {
  apply_crds "$ISTIO"
  kube create namespace istio-system >/dev/null
  start_istiod
  start_webhook
  start_backend
  kube apply -f "$OWN/manifests/rights.yaml" -f "$OWN/manifests/gateway.yaml" >/dev/null
  start_gateway
  write_dataplane_env
}

# apply_crds FOLDER: applies the CRDs of a program and waits until they are served.
apply_crds() {
  kube apply --server-side --force-conflicts --recursive -f "$1/crds" >/dev/null
  kube wait --for=condition=Established --timeout=60s --all crd >/dev/null
}

# The xDS server is at 15010, health checks at 15007, the webhook at 15017. Nothing listens on all addresses: pods want
# their ports for themselves.
start_istiod() {
  POD_NAMESPACE=istio-system POD_NAME=istiod CLUSTER_ID=Kubernetes REVISION=default ENABLE_LEADER_ELECTION=false \
    INJECT_ENABLED=false ISTIOD_CUSTOM_HOST=127.0.0.1 PILOT_ENABLE_METADATA_EXCHANGE=false PILOT_ENABLE_ALPN_FILTER=false \
    PILOT_ENABLE_TELEMETRY_LABEL=false PILOT_ENDPOINT_TELEMETRY_LABEL=false PILOT_ENABLE_ALPHA_GATEWAY_API=true \
    PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER=false PILOT_ENABLE_PERSISTENT_SESSION_FILTER=true \
    spawn pilot-discovery discovery --kubeconfig "$DIR/kubeconfigs/admin" --meshConfig "$OWN/mesh.yaml" --networksConfig none \
    --httpAddr 127.0.0.1:15007 --httpsAddr 127.0.0.1:15017 --grpcAddr 127.0.0.1:15010 --secureGRPCAddr '' \
    --monitoringAddr 127.0.0.1:15014 --ctrlz_port 0 --shutdownDuration 1s
  await pilot-discovery 60 curl -sf http://127.0.0.1:15007/ready
}

# restart_istiod [DELAY]: changes reach the proxies after DELAY.
restart_istiod() {
  local delay=${1:-}
  DIR=${KANARY_PLANE_DIR:?it is set inside of a data plane}
  wake pilot-discovery
  end_all pilot-discovery
  if [[ -n $delay ]]; then export PILOT_DEBOUNCE_AFTER=$delay PILOT_DEBOUNCE_MAX=$delay; fi
  start_istiod
}

# istiod puts its certificate into the configuration of its webhook, and makes it strict once it has refused a test object.
start_webhook() {
  kube apply -f "$OWN/manifests/webhook.yaml" >/dev/null
  await pilot-discovery 60 webhook_is_strict
}

webhook_is_strict() {
  [[ $(kube get validatingwebhookconfiguration istiod -o 'jsonpath={.webhooks[0].failurePolicy}') == Fail ]]
}

start_backend() {
  [[ -x $(program kanary-dataplane) ]] || fail "needs $(program kanary-dataplane): build it with: cargo build --package kanary-dataplane"
  spawn kanary-dataplane --kubeconfig "$DIR/kubeconfigs/admin" --listen 127.0.0.1:15090
  await kanary-dataplane 30 curl -sf http://127.0.0.1:15090/metrics
  printf '[{"targets": ["127.0.0.1:15090"]}]\n' >"$DIR/targets/backend.json"
}

# address_of NAMESPACE LABEL: the address of a pod.
address_of() { kube -n "$1" get pods -l "$2" -o 'jsonpath={.items[0].status.podIP}'; }
has_address() { [[ -n $(address_of "$@") ]]; }

# The gateway is a pod for the control plane, and a process for everybody else.
start_gateway() {
  local pod
  await kwok 60 has_address istio-system app=gateway
  pod=$(kube -n istio-system get pods -l app=gateway -o 'jsonpath={.items[0].metadata.name}')
  sed -e "s/POD_IP/$(address_of istio-system app=gateway)/g" -e "s/POD_NAME/$pod/g" "$OWN/envoy.yaml" >"$DIR/envoy.yaml"
  spawn envoy --config-path "$DIR/envoy.yaml" --concurrency 1 --disable-hot-restart --log-level warning
  # It answers 404, because there are no routes yet.
  await envoy 60 curl -s -o /dev/null http://127.0.0.1:15080/
}

write_dataplane_env() {
  {
    printf 'export KANARY_DATAPLANE_GATEWAY=%q\n' 127.0.0.1:15080
    printf 'export KANARY_DATAPLANE_BACKEND=%q\n' http://127.0.0.1:15090
    printf 'export KANARY_DATAPLANE_ENVOY=%q\n' http://127.0.0.1:15000
  } >>"$DIR/env"
}
