# shellcheck shell=bash disable=SC2034,SC2154 # variables of the script that sources this
# A server of the demo's models on free loopback ports, for as long as a script runs.
#
# The script sources this in the repository's root, sets `millrace` (the command's program) and
# `folder` (a scratch folder) first, and calls stop_server before it ends.

server_pid=
# The repository.
server_models=$PWD/deploy/demo/models
# In a session of its own: what is typed on the terminal is for the script to handle.
server_start=(setsid)
# Further arguments of `millrace serve`.
server_arguments=()

# Starts it and waits until it is ready; sets `admin`, `server_log`, `grpc` and `http` (addresses).
start_server() {
  admin=$folder/admin.sock
  server_log=$folder/server.log
  "${server_start[@]}" "$millrace" serve --repository "$server_models" --admin-socket "$admin" \
    --grpc 127.0.0.1:0 --http 127.0.0.1:0 "${server_arguments[@]}" \
    </dev/null >"$server_log" 2>&1 &
  server_pid=$!
  if ! "$millrace" wait-ready --admin-socket "$admin" --timeout 60; then
    cat "$server_log" >&2
    return 1
  fi
  grpc=$(listener grpc)
  http=$(listener http)
}

# The address of a listener.
listener() {
  "$millrace" status --admin-socket "$admin" | sed -n "1s/.*$1 \([^,]*\).*/\1/p"
}

# Ends it in good order; its exit code. Nothing happens where none runs.
stop_server() {
  [[ -n $server_pid ]] || return 0
  local pid=$server_pid
  server_pid=
  kill "$pid" 2>/dev/null || true
  wait "$pid"
}
