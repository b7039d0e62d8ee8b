# shellcheck shell=bash
# For the tests of the chart.

CHART=chart/kanary
HELM=$(hack/plane/plane helm)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/kanary-chart.XXXXXX")
export HELM_CACHE_HOME=$WORK/helm HELM_CONFIG_HOME=$WORK/helm HELM_DATA_HOME=$WORK/helm

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# Prints a command and runs it. Its output is shown only if it fails.
run() {
  printf '$ %s\n' "$*"
  "$@" >"$WORK/output" 2>&1 || { cat "$WORK/output"; fail "$1 failed"; }
}

# refused MESSAGE COMMAND...: the command fails, and its output contains MESSAGE.
refused() {
  local message=$1
  shift
  printf '$ %s   # refused: %s\n' "$*" "$message"
  ! "$@" >"$WORK/output" 2>&1 || fail "this was accepted: $*"
  grep -qF -- "$message" "$WORK/output" || { cat "$WORK/output"; fail "the message does not contain: $message"; }
}

# holds WHAT COMMAND...: the command succeeds within a minute.
holds() {
  local what=$1 end=$((SECONDS + 60))
  shift
  until "$@" >"$WORK/output" 2>&1; do
    ((SECONDS < end)) || { cat "$WORK/output"; fail "$what"; }
    sleep 0.2
  done
  printf 'ok: %s\n' "$what"
}

not() { ! "$@"; }
# is VALUE COMMAND...: the output of the command is VALUE.
is() { local value=$1; shift; [[ $("$@") == "$value" ]]; }

helm() { "$HELM" "$@"; }
