# shellcheck shell=bash
# What the comments in the pages can use. PAGE, PROGRAM and WORK come from `commands`.

# block NUMBER: a YAML block of this page.
block() { awk -v wanted="$1" '/^ *```yaml/ { number++; is_in = number == wanted; next } /^ *```/ { is_in = 0 } is_in' "$PAGE"; }

# `cargo run` is the program under test, in the background.
cargo() {
  [[ $1 == run ]] || { echo "mark it as not run, with the reason: cargo $*"; return 1; }
  while [[ $1 != -- ]]; do shift; done
  shift
  # A port of its own, on loopback.
  [[ " $* " == *" --admin-addr "* ]] || set -- "$@" --admin-addr 127.0.0.1:0
  "$PROGRAM" "$@" >"$WORK/cargo-run.log" 2>&1 &
  RUN=$!
  within_a_minute grep -q 'admin server listens' "$WORK/cargo-run.log"
}

# Builds, tests and measurements are steps of CI, or nothing for CI.
just() { echo "mark it as not run, with the reason: just $*"; return 1; }

# As Ctrl-C does.
end_cargo_run() { kill "$RUN" && wait "$RUN"; }

within_a_minute() {
  local end=$((SECONDS + 60))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { echo "not within a minute: $*"; "$@"; return 1; }
    sleep 0.2
  done
}

# An empty cluster: neither a release nor CRDs.
fresh() {
  helm uninstall kanary --namespace kanary-system --ignore-not-found --wait &&
    kubectl delete --ignore-not-found -f deploy/operator.yaml -f deploy/role_binding.yaml -f deploy/role.yaml &&
    kubectl delete --ignore-not-found -f deploy/crds &&
    kubectl delete --ignore-not-found -f deploy/service_account.yaml &&
    kubectl -n default delete deployment,service --selector '!provider' &&
    kubectl config set-context --current --namespace default
}

# The chart, and an empty namespace `shop` which is that of the context.
installed() {
  helm upgrade --install kanary chart/kanary --namespace kanary-system --create-namespace --take-ownership --wait &&
    kubectl delete kanary --all --all-namespaces &&
    kubectl delete namespace shop --ignore-not-found &&
    kubectl create namespace shop &&
    kubectl config set-context --current --namespace shop
}

# target IMAGE: the Deployment myapp and its Service, available.
target() {
  sed "/^apiVersion: kanary/,\$d; s/nginx:1.28/$1/" examples/batman.yaml | kubectl apply -f - &&
    kubectl rollout status deployment/myapp --timeout 60s
}

# manifest NAME VALIDATION: a Kanary for myapp:v2.
manifest() {
  cat <<END
apiVersion: kanary.k8s-operators.dev/v1alpha1
kind: KanaryDeployment
metadata: {name: $1}
spec:
  deploymentName: myapp
  serviceName: myapp-svc
  traffic: {source: service}
  validation: $2
  template: {spec: {template: {metadata: {labels: {app: myapp}}, spec: {containers: [{name: app, image: "myapp:v2"}]}}}}
END
}

# running NAME: waits until a Kanary is judged.
running() { kubectl wait "kanary/$1" --for=jsonpath='{.status.report.status}'=Running --timeout=60s; }
