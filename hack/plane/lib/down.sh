# shellcheck shell=bash
# Ends a plane's processes, and removes its folder.

# The API server goes after its clients, which would only log errors, and before etcd, without
# which it would wait in vain.
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
    # The API server would wait for open watches to end; what it holds is thrown away anyway.
    poll 3 not pid_of "$name" && continue
    if pid=$(pid_of "$name"); then kill -KILL "$pid" 2>/dev/null || true; fi
    poll 5 not pid_of "$name" || log "$name is still there"
  done
}

# A default plane that lost its processes (the machine was restarted, say) is no obstacle.
drop_dead_default() {
  [[ -L $CURRENT ]] || return 0
  DIR=$(readlink -m "$CURRENT")
  if pid_of kube-apiserver >/dev/null || pid_of etcd >/dev/null; then
    fail "the default plane is already running in $DIR; stop it with: plane stop"
  fi
  if [[ -f $DIR/$MARKER ]]; then tear_down; fi
  rm -f "$CURRENT"
}
