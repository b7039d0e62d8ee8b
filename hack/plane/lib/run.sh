# shellcheck shell=bash
# Runs a command with the environment of the plane in DIR.

COMMAND_PID=
# In a terminal, the command runs in the foreground, so that it can read input and receives
# Ctrl-C. Otherwise it runs in its own process group, so that bash handles signals immediately
# and can stop the command with all its children.
run_command() {
  # shellcheck source=/dev/null
  source "$DIR/env"
  if [[ -t 0 ]]; then
    env -- "$@"
    return
  fi
  local code=0
  set -m
  env -- "$@" <&0 &
  COMMAND_PID=$!
  set +m
  wait "$COMMAND_PID" || code=$?
  COMMAND_PID=
  return "$code"
}

on_signal() {
  trap '' INT TERM HUP
  if [[ -n $COMMAND_PID ]]; then
    kill -TERM -- "-$COMMAND_PID" 2>/dev/null || true
    poll 10 not kill -0 -- "-$COMMAND_PID" || kill -KILL -- "-$COMMAND_PID" || true
  fi
  exit "$1"
}
