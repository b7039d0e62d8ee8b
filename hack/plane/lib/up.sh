# shellcheck shell=bash disable=SC2016
# Starts a plane in DIR.

# use_dir FOLDER: creates it (an existing folder must be empty) and marks it as a plane's folder.
use_dir() {
  DIR=$(readlink -m "$1")
  mkdir -p "$DIR"
  [[ -z $(ls -A "$DIR") ]] || fail "$DIR is not empty"
  touch "$DIR/$MARKER"
  # The folder contains tokens.
  chmod 700 "$DIR"
  mkdir -p "$DIR"/{certs,kubeconfigs,logs,pids,targets}
}

use_default_dir() {
  use_dir "$(mktemp -d "${TMPDIR:-/tmp}/kanary-plane.XXXXXX")"
  # Creating a link fails if it exists, so only one of two concurrent starts succeeds.
  ln -sn "$DIR" "$CURRENT" 2>/dev/null || { rm -rf "$DIR"; fail "another default plane is just starting"; }
}

bring_up() {
  local port
  reserve_ports
  start_etcd
  # Only etcd still holds the lock on the ports. It is stopped last.
  exec 9>&-
  start_prometheus
  write_credentials
  prepare
  start_apiserver
  start_controllers
  start_nodes
  await prometheus 30 curl -sf "http://127.0.0.1:$PORT_PROMETHEUS/-/ready"
  write_env
}

# Runs when ports and credentials are known, and no program of Kubernetes is started. Scripts that use this library have their own.
prepare() { :; }

# Reserves ten consecutive ports outside the kernel's range for outgoing connections. They are
# locked, so that planes that start concurrently do not choose the same ports.
reserve_ports() {
  local slot
  mkdir -p "$CACHE/ports"
  for _ in {1..100}; do
    slot=$((20000 + RANDOM % 1000 * 10))
    exec 9>"$CACHE/ports/$slot"
    if flock -n 9 && ports_free "$slot"; then
      PORT_ETCD=$slot PORT_PEER=$((slot + 1)) PORT_API=$((slot + 2))
      PORT_MANAGER=$((slot + 3)) PORT_SCHEDULER=$((slot + 4)) PORT_PROMETHEUS=$((slot + 5))
      return
    fi
  done
  fail "found no free ports"
}

ports_free() {
  local port
  for port in $(seq "$1" $(($1 + 9))); do
    ! port_open "$port" || return 1
  done
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# spawn NAME ARGUMENTS: starts a program in a new session, so that a terminal's Ctrl-C and hang-up
# do not reach it, because the programs must be stopped in order.
spawn() {
  local name=$1 path
  shift
  path=$(program "$name")
  printf '%s\0' "$@" >"$DIR/pids/$name.arguments"
  setsid "$path" "$@" </dev/null >>"$DIR/logs/$name.log" 2>&1 &
  echo $! >"$DIR/pids/$name"
  disown
}

# revive NAME: restarts a killed program with the same arguments.
revive() {
  local arguments
  mapfile -d '' -t arguments <"$DIR/pids/$1.arguments"
  spawn "$1" "${arguments[@]}"
}

# await NAME SECONDS COMMAND: waits until COMMAND succeeds; on a timeout, prints the end of the log.
await() {
  local name=$1 seconds=$2 said
  shift 2
  poll "$seconds" settled "$name" "$@" || true
  said=$("$@" 2>&1) && return
  log "$name is not ready${said:+: $said}; the end of its log:"
  tail -n 10 "$DIR/logs/$name.log" >&2
  fail "the plane did not start"
}

settled() {
  local name=$1 pid
  shift
  "$@" && return
  pid=$(cat "$DIR/pids/$name")
  [[ ! -e /proc/$pid ]] || grep -q '^State:[[:space:]]*Z' "/proc/$pid/status"
}

start_etcd() {
  local client=http://127.0.0.1:$PORT_ETCD peer=http://127.0.0.1:$PORT_PEER
  # The data does not have to survive a power failure.
  spawn etcd --data-dir "$DIR/etcd" --unsafe-no-fsync --quota-backend-bytes 8589934592 --log-level warn \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
  await etcd 30 curl -sf "$client/health"
}

start_prometheus() {
  local quick=(--scrape.discovery-reload-interval=1s)
  # A hidden flag that not all versions have. Without it, a new target is scraped some seconds later.
  "$(program prometheus)" "${quick[@]}" --version >/dev/null 2>&1 || quick=()
  cp "$HERE/prometheus.yml" "$DIR/prometheus.yml"
  spawn prometheus "${quick[@]}" --config.file="$DIR/prometheus.yml" --storage.tsdb.path="$DIR/prometheus" \
    --storage.tsdb.retention.time=6h --query.lookback-delta=10s --log.level=warn \
    --web.listen-address="127.0.0.1:$PORT_PROMETHEUS"
}

# One user for each client, so that the audit log identifies the client.
write_credentials() {
  openssl ecparam -genkey -name prime256v1 -noout -out "$DIR/certs/service-account.key" 2>/dev/null
  add_user admin admin system:masters
  # The groups of a ServiceAccount with this name, so that its role bindings apply.
  add_user kanary system:serviceaccount:kanary-system:kanary \
    system:serviceaccounts,system:serviceaccounts:kanary-system,system:authenticated
  # All controllers share this user, and no built-in role covers all of them.
  add_user kube-controller-manager system:kube-controller-manager system:masters
  add_user kube-scheduler system:kube-scheduler system:authenticated
  add_user kwok kwok system:masters
}

# add_user FILE USER GROUPS
add_user() {
  local token
  token=$(od -An -tx1 -N24 /dev/urandom | tr -d ' \n')
  printf '%s,%s,%s,"%s"\n' "$token" "$2" "$1" "$3" >>"$DIR/certs/tokens.csv"
  cat >"$DIR/kubeconfigs/$1" <<END
apiVersion: v1
kind: Config
current-context: plane
contexts: [{name: plane, context: {cluster: plane, user: "$1"}}]
clusters: [{name: plane, cluster: {server: "https://127.0.0.1:$PORT_API", certificate-authority: "$DIR/certs/apiserver.crt"}}]
users: [{name: "$1", user: {token: "$token"}}]
END
}

kube() { "$(program kubectl)" --cache-dir "$DIR/kubectl-cache" --kubeconfig "$DIR/kubeconfigs/admin" "$@"; }

# More arguments. Scripts that use this library add theirs.
API_SERVER=()

start_apiserver() {
  # Disabled plugins: pods need no ServiceAccount, and new nodes need no taint.
  # Endpoints cannot be loopback addresses, so the endpoints of the Service kubernetes are not reconciled.
  spawn kube-apiserver --etcd-servers "http://127.0.0.1:$PORT_ETCD" --secure-port "$PORT_API" \
    --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --endpoint-reconciler-type none \
    --cert-dir "$DIR/certs" --service-cluster-ip-range 10.0.0.0/16 \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$DIR/certs/service-account.key" \
    --service-account-signing-key-file "$DIR/certs/service-account.key" \
    --token-auth-file "$DIR/certs/tokens.csv" --authorization-mode RBAC \
    --disable-admission-plugins ServiceAccount,TaintNodesByCondition --allow-privileged \
    --max-requests-inflight 3000 --max-mutating-requests-inflight 1500 \
    --audit-policy-file "$HERE/audit-policy.yaml" --audit-log-path "$DIR/logs/audit.log" \
    --audit-log-mode blocking --audit-log-maxsize 100000 "${API_SERVER[@]}"
  await kube-apiserver 60 curl -skf "https://127.0.0.1:$PORT_API/readyz"
}

start_controllers() {
  local fast=(--leader-elect=false --kube-api-qps 1000 --kube-api-burst 2000 --bind-address 127.0.0.1)
  spawn kube-controller-manager "${fast[@]}" --kubeconfig "$DIR/kubeconfigs/kube-controller-manager" \
    --secure-port "$PORT_MANAGER" --cert-dir "$DIR/certs/kube-controller-manager" \
    --controllers '*,-nodeipam,-nodelifecycle' \
    --root-ca-file "$DIR/certs/apiserver.crt" --service-account-private-key-file "$DIR/certs/service-account.key" \
    --concurrent-deployment-syncs 20 --concurrent-replicaset-syncs 20 --concurrent-gc-syncs 20 \
    --concurrent-endpoint-syncs 20 --concurrent-service-endpoint-syncs 20 --horizontal-pod-autoscaler-sync-period 2s
  spawn kube-scheduler "${fast[@]}" --kubeconfig "$DIR/kubeconfigs/kube-scheduler" \
    --secure-port "$PORT_SCHEDULER" --cert-dir "$DIR/certs/kube-scheduler"
  start_kwok
  await kube-controller-manager 60 kube get serviceaccount default
  await kube-scheduler 60 curl -skf "https://127.0.0.1:$PORT_SCHEDULER/healthz"
}

# How pods behave. Scripts that use this library may have stages of their own.
STAGES=$HERE/stages.yaml

# Without a port, kwok plays no kubelet for others.
KWOK=(--node-port 0)

start_kwok() {
  # With another HOME, kwok ignores the user's own settings.
  HOME=$DIR spawn kwok --config "$STAGES" --kubeconfig "$DIR/kubeconfigs/kwok" \
    --manage-all-nodes --cidr 10.64.0.0/10 --node-ip 127.0.0.1 "${KWOK[@]}"
}

start_nodes() {
  local number
  for number in $(seq 0 $((NODES - 1))); do
    printf -- '---\n{apiVersion: v1, kind: Node, metadata: {name: node-%s, annotations: {kwok.x-k8s.io/node: fake}, ' "$number"
    printf 'labels: {kubernetes.io/hostname: node-%s, kubernetes.io/os: linux}}}\n' "$number"
  done | kube create -f - >/dev/null
  await kwok 60 nodes_ready
}

nodes_ready() { [[ $(kube get nodes --no-headers | awk '$2 == "Ready"' | wc -l) == "$NODES" ]]; }

write_env() {
  local path=$KUBE_BIN
  [[ -z ${KUBEBUILDER_ASSETS:-} ]] || path=$KUBEBUILDER_ASSETS:$path
  {
    printf 'export KUBECONFIG=%q\n' "$DIR/kubeconfigs/admin"
    printf 'export KANARY_PLANE_DIR=%q\n' "$DIR"
    printf 'export KANARY_PLANE_KUBECONFIG_KANARY=%q\n' "$DIR/kubeconfigs/kanary"
    printf 'export KANARY_PLANE_AUDIT_LOG=%q\n' "$DIR/logs/audit.log"
    printf 'export KANARY_PLANE_PROMETHEUS=%q\n' "http://127.0.0.1:$PORT_PROMETHEUS"
    printf 'export KANARY_PLANE_PROMETHEUS_TARGETS=%q\n' "$DIR/targets"
    # An earlier plane with other resources may have used the same address.
    printf 'export KUBECACHEDIR=%q\n' "$DIR/kubectl-cache"
    printf 'export PATH=%q:$PATH\n' "$path"
  } >"$DIR/env"
}

# print_guide [DIR]: prints how to use the plane; DIR if it is not the default plane.
print_guide() {
  local prometheus
  prometheus=$(sed -n 's/^export KANARY_PLANE_PROMETHEUS=//p' "$DIR/env")
  printf 'export KUBECONFIG=%q\n' "$DIR/kubeconfigs/admin"
  printf '# Prometheus:        %s\n' "$prometheus"
  printf '# logs:              %s\n' "$DIR/logs"
  printf '# all the variables: eval "$(%q env%s)"\n' "$HERE/plane" "${1:+ $DIR}"
  printf '# stop it:           %q stop%s\n' "$HERE/plane" "${1:+ $DIR}"
}
