# Every command of the project; CI calls these and nothing else. `just` alone lists them.

# The folder for what is slow to build and not part of the tree.
cache := env("XDG_CACHE_HOME", env("HOME") / ".cache") / "kanary"

_list:
    @just --list --unsorted

# Unit, property, tidy and simulation tests, and the behaviour suite on the embedded cluster.
test:
    cargo test --locked --workspace

# Storms on the embedded cluster for so many seconds, from a seed on; each failure prints the command that replays it. Compiled
# for speed, which takes a while the first time and then is worth seven times as many seeds.
simulate seconds="600" first="1000000" seeds="1000000000":
    KANARY_SECONDS={{seconds}} KANARY_SEED={{first}} KANARY_SEEDS={{seeds}} \
        cargo test --locked --workspace --profile bench --test simulation nothing_goes_wrong_in_any_storm -- --nocapture

# Several replicas with so many Kanaries each time, in so many fleets.
simulate-fleets kanaries="1000" fleets="4" first="0":
    KANARY_KANARIES={{kanaries}} KANARY_FLEETS={{fleets}} KANARY_SEED={{first}} \
        cargo test --locked --workspace --profile bench --test simulation a_fleet_outlives_its_replicas -- --nocapture

# The behaviour suite, on a real control plane that is started for it (hack/plane).
behaviour *args:
    cargo test --locked --workspace --test behaviour --no-run
    hack/plane/plane run -- cargo test --locked --workspace --test behaviour -- {{args}}

# Formatting, lints, licences and sources of dependencies, generated files.
lint: format-check clippy production deny generated-check shell

format:
    cargo fmt --all

format-check:
    cargo fmt --all --check

clippy:
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

# What runs on a cluster has nothing of the demo and the tests: no cluster in memory, no clock that stands still.
production:
    cargo clippy --locked --package kanary -- -D warnings
    @! cargo tree --locked --package kanary --edges normal | grep kanary-sim || { echo 'kanary-sim is in the production binary' >&2; exit 1; }
    @! cargo tree --locked --package kanary --edges features,normal | grep test-util || { echo 'tokio/test-util is in the production binary' >&2; exit 1; }

deny:
    cargo deny --locked check bans licenses sources
    @! cargo tree --locked --duplicates --depth 0 | grep -E '^(kube|k8s-openapi)' || { echo 'two versions of kube or k8s-openapi in Cargo.lock' >&2; exit 1; }

# Known vulnerabilities; needs a network.
advisories:
    cargo deny check advisories

# Writes what is generated from the code: the CRDs.
generate:
    cargo run --locked --quiet -- crds --output crds

# By a test, which needs no compilation of its own.
generated-check:
    cargo test --locked --workspace --test tidy the_crds_in_the_tree_are_the_generated_ones

# Shell scripts.
shell:
    bash -n .ci/run hack/plane/plane hack/plane/lib/*.sh
