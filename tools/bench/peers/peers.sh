# shellcheck shell=bash disable=SC2034,SC2154 # variables of the script that sources this
# Triton and MLServer with the demo's breast_cancer on free loopback ports, for as long as a script
# runs.
#
# The script sources this in the repository's root, sets `folder` (a scratch folder) and `demo` (the model's) first, and calls
# stop_peers before it ends. start_peers sets `triton` and `mlserver` (addresses). Both are made from
# PyPI into environments of their own, once for each list of requirements.

peers=tools/bench/peers
peer_pids=()

# peer_environment NAME [PIP_OPTION...]: prints its folder.
peer_environment() {
  local list=$peers/requirements_$1.txt
  local environment=${XDG_CACHE_HOME:-$HOME/.cache}/millrace/$1-
  environment+=$(sha256sum "$list" | cut -c1-16)
  # One that was not made to its end lacks the last file, and is made anew.
  if [[ ! -e $environment/complete ]]; then
    echo "Making a virtual environment for $1: $environment" >&2
    setup_packages_file=tools/conformance/packages.txt ensure_packages >&2
    rm -rf "$environment"
    python3 -m venv "$environment"
    "$environment/bin/pip" install -q --disable-pip-version-check "${@:2}" -r "$list" >&2
    touch "$environment/complete"
  fi
  echo "$environment"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_for_peer NAME PID URL
wait_for_peer() {
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    python3 - "$3" 2>/dev/null <<'PYTHON' && return
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=1)
PYTHON
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 did not start" >&2
  return 1
}

start_triton() {
  local environment packages server port grpc_port
  environment=$(peer_environment triton --no-deps)
  packages=$(echo "$environment"/lib/python3*/site-packages)
  server=$packages/pytriton/tritonserver
  mkdir -p "$folder/triton/libraries" "$folder/triton/backends"
  cp -r "$server/backends/python" "$folder/triton/backends"
  local version=${packages%/site-packages}
  cp "$server/python_backend_stubs/${version##*python}/triton_python_backend_stub" \
    "$folder/triton/backends/python"
  ln -s "$packages"/nvidia_pytriton.libs/libcudart* "$folder/triton/libraries"
  port=$(free_port)
  grpc_port=$(free_port)
  PEER_MODEL=$demo/1/model.ubj PEER_PACKAGES=$packages LD_LIBRARY_PATH=$folder/triton/libraries \
    "$server/bin/tritonserver" --model-repository "$PWD/$peers/triton" \
    --backend-directory "$folder/triton/backends" --allow-metrics false \
    --http-address 127.0.0.1 --http-port "$port" \
    --grpc-address 127.0.0.1 --grpc-port "$grpc_port" >"$folder/triton.log" 2>&1 &
  peer_pids+=($!)
  wait_for_peer Triton $! "http://127.0.0.1:$port/v2/health/ready"
  triton=127.0.0.1:$grpc_port
}

start_mlserver() {
  local environment port grpc_port
  environment=$(peer_environment mlserver)
  port=$(free_port)
  grpc_port=$(free_port)
  cp -r $peers/mlserver "$folder/mlserver"
  echo "{\"host\": \"127.0.0.1\", \"http_port\": $port, \"grpc_port\": $grpc_port," \
    "\"metrics_port\": $(free_port), \"parallel_workers\": 0, \"debug\": false}" \
    >"$folder/mlserver/settings.json"
  PEER_MODEL=$demo/1/model.ubj PYTHONDONTWRITEBYTECODE=1 \
    "$environment/bin/mlserver" start "$folder/mlserver" >"$folder/mlserver.log" 2>&1 &
  peer_pids+=($!)
  wait_for_peer MLServer $! "http://127.0.0.1:$port/v2/health/ready"
  mlserver=127.0.0.1:$grpc_port
}

start_peers() {
  start_triton
  start_mlserver
}

stop_peers() {
  local pid
  for pid in "${peer_pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${peer_pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  peer_pids=()
}
