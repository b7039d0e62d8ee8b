# All commands of the project. CI calls only these. `just` without arguments lists them.

# Cache folder for programs that are slow to build.
cache := env("XDG_CACHE_HOME", env("HOME") / ".cache") / "kanary"

_list:
    @just --list --unsorted

# Unit, property, tidy and simulation tests, and the behaviour suite on the embedded cluster.
test:
    cargo test --locked --workspace

# Simulates storms on the embedded cluster for some seconds, starting at a seed. A failure prints the command that replays it.
# The optimized build takes longer the first time, but then runs seven times as many seeds.
simulate seconds="600" first="1000000" seeds="1000000000":
    KANARY_SECONDS={{seconds}} KANARY_SEED={{first}} KANARY_SEEDS={{seeds}} \
        cargo test --locked --workspace --profile bench --test simulation nothing_goes_wrong_in_any_storm -- --nocapture

# Simulates fleets: several replicas with this many Kanaries, this many times.
simulate-fleets kanaries="1000" fleets="4" first="0":
    KANARY_KANARIES={{kanaries}} KANARY_FLEETS={{fleets}} KANARY_SEED={{first}} \
        cargo test --locked --workspace --profile bench --test simulation a_fleet_outlives_its_replicas -- --nocapture

# Compares instructions (counted by valgrind) and allocated bytes of what the controller does most often with the baseline.
# `--renew` writes the baseline, `--memory` prints only the memory per canary.
bench-gate *args:
    cargo bench --locked --workspace --bench paths -- --gate {{args}}

# The behaviour suite on a real control plane, which is started and stopped for it (hack/plane). The whole suite must use every
# permission of the chart.
behaviour *args:
    cargo test --locked --workspace --test behaviour --no-run
    hack/plane/plane run -- {{ if args == "" { "hack/chart/permissions" } else { "" } }} cargo test --locked --workspace --test behaviour -- {{args}}

# Runs the commands of the documentation on a real control plane, or those of some pages: `just docs README.md`.
docs *pages:
    cargo test --locked --workspace --test behaviour --no-run
    hack/plane/plane run -- hack/docs/commands target/debug/kanary {{pages}}

# Tests the Helm chart and deploy/: installed, upgraded and removed on a real control plane, with the controller as a process.
# Then the commands of the documentation, on the same control plane.
chart:
    cargo test --locked --workspace --test behaviour --no-run
    hack/chart/test target/debug/kanary

# Provokes each alert of the chart on a real control plane, until a real Prometheus says that it fires.
alerts:
    cargo build --locked
    hack/plane/plane run -- hack/chart/provoke target/debug/kanary

# Installs the plugin with a real krew, from a rendered manifest.
krew:
    cargo build --locked --package kubectl-kanary
    hack/krew/test target/debug/kubectl-kanary

# The trace of a run whose owner is killed, in a real Jaeger and on a real control plane. Builds Jaeger the first time.
traces:
    cargo test --locked --workspace --test behaviour --no-run
    hack/plane/plane run -- hack/traces/jaeger cargo test --locked --workspace --test behaviour -- --nocapture traces::

# metric items with real servers of the Kubernetes metrics APIs (hack/metrics-apis), which are built the first time.
metrics-apis *filters="metrics_servers::":
    cargo test --locked --workspace --test behaviour --no-run
    hack/metrics-apis/metrics-apis run -- cargo test --locked --workspace --test behaviour -- --nocapture {{filters}}

# Requests through a real Envoy, by routes that Kanary changes (hack/dataplane): `just dataplane`, `just dataplane runs::`. Builds
# istiod and Envoy Gateway the first time; with KANARY_DATAPLANE_ENVOY_GATEWAY= (empty) it leaves out what needs Envoy Gateway.
dataplane *filters="data_plane::":
    cargo test --locked --workspace --test behaviour --test dataplane --no-run
    KANARY_DATAPLANE_ENVOY_GATEWAY="${KANARY_DATAPLANE_ENVOY_GATEWAY-1}" hack/dataplane/dataplane run -- \
        cargo test --locked --workspace --test behaviour -- --nocapture --test-threads 4 {{filters}}

# A load test on a real control plane, which is started and stopped for it: `just loadtest burst --canaries 50,200`. See docs/scale.md.
loadtest *args:
    cargo build --locked --release --features jemalloc
    cargo build --locked --release --package kanary-loadtest
    target/release/kanary-loadtest {{args}}

# Checks formatting, lints, licences and sources of dependencies, and generated files.
lint: format-check clippy production deny generated-check shell

format:
    cargo fmt --all

format-check:
    cargo fmt --all --check

clippy:
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

# The production binary must not contain code of the demo or the tests, such as the in-memory cluster or the paused clock.
production:
    cargo clippy --locked --package kanary -- -D warnings
    @! cargo tree --locked --package kanary --edges normal | grep kanary-sim || { echo 'kanary-sim is in the production binary' >&2; exit 1; }
    @! cargo tree --locked --package kanary --edges features,normal | grep test-util || { echo 'tokio/test-util is in the production binary' >&2; exit 1; }

deny:
    cargo deny --locked check bans licenses sources
    @! cargo tree --locked --duplicates --depth 0 | grep -E '^(kube|k8s-openapi)' || { echo 'two versions of kube or k8s-openapi in Cargo.lock' >&2; exit 1; }

# Checks dependencies for known vulnerabilities. Needs network access.
advisories:
    cargo deny check advisories

# Generates the CRDs from the code.
generate:
    cargo run --locked --quiet -- crds --output crds --kinds KanaryDeployment.kanary.k8s.io,CanaryApp.canary.atze.io,CanaryDeployment.kanarini.nilebox.github.com,KanaryDaemonset
    cargo run --locked --quiet -- crds --output crds/conversion --conversion kanary-system/kanary-conversion --kinds KanaryDaemonset

# Generates deploy/ and the CRDs of the chart, from crds/ and the chart.
manifests:
    hack/chart/generate

# Checks that they are up to date.
manifests-check:
    hack/chart/generate --check

# By a test, which needs no compilation of its own.
generated-check:
    cargo test --locked --workspace --test tidy the_crds_in_the_tree_are_the_generated_ones

# Checks the syntax of scripts.
shell:
    for script in .ci/run hack/plane/plane hack/plane/lib/*.sh hack/dataplane/dataplane hack/dataplane/lib/* hack/metrics-apis/metrics-apis hack/chart/generate hack/chart/lib.sh hack/chart/test hack/chart/test-cluster hack/chart/provoke hack/docs/prelude.sh hack/traces/jaeger hack/traces/picture hack/krew/release hack/krew/test; do bash -n $script || exit 1; done
    for script in hack/docs/commands hack/docs/pages.py hack/docs/replica.py hack/docs/dashboard hack/docs/demo; do python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' $script || exit 1; done
