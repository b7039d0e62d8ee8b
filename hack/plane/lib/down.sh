# shellcheck shell=bash
# Stops a plane's processes, and removes its folder.

# The API server is stopped after its clients, which would otherwise log errors, and before etcd,
# because it cannot shut down without etcd.
tear_down() {
  trap '' INT TERM HUP
  end_all prometheus kwok kube-scheduler kube-controller-manager
  end_all kube-apiserver
  end_all etcd
  if [[ -L $CURRENT && $(readlink -m "$CURRENT") == "$DIR" ]]; then rm -f "$CURRENT"; fi
  rm -rf "$DIR"
}

end_all() {
  local name pid
  for name in "$@"; do
    if pid=$(pid_of "$name"); then kill -TERM "$pid" 2>/dev/null || true; fi
  done
  for name in "$@"; do
    # The API server would wait for open watches. Its data is discarded, so it can be killed.
    poll 3 not pid_of "$name" && continue
    if pid=$(pid_of "$name"); then kill -KILL "$pid" 2>/dev/null || true; fi
    poll 5 not pid_of "$name" || log "$name is still running"
  done
}

# Removes a default plane whose processes are gone, for example after a reboot.
drop_dead_default() {
  [[ -L $CURRENT ]] || return 0
  DIR=$(readlink -m "$CURRENT")
  if pid_of kube-apiserver >/dev/null || pid_of etcd >/dev/null; then
    fail "the default plane is already running in $DIR; stop it with: plane stop"
  fi
  if [[ -f $DIR/$MARKER ]]; then tear_down; fi
  rm -f "$CURRENT"
}
