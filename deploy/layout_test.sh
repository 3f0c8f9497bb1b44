#!/usr/bin/env bash
# The server as it is installed: it starts from its layout, as root with a user for each stage, and
# the unit, the users and the container file hold to what the tools and the programs say.
set -euo pipefail
readonly programs=(keeper/keeper supervisor/supervisor registry/registry registry/compiler
  ingress/ingress features/features execution/execution aggregation/aggregation observer/observer
  millrace)
failures=0

expect() { # WHAT COMMAND...
  local what=$1
  shift
  if ! "$@"; then
    echo "FAILED: $what" >&2
    failures=$((failures + 1))
  fi
}

# Other users must be able to enter it.
root=$(mktemp -d /tmp/millrace-layout.XXXXXX)
keeper=
finish() {
  [[ -z $keeper ]] || kill -9 "$keeper" 2>/dev/null || true
  rm -rf "$root"
}
trap finish EXIT
chmod 755 "$root"
deploy/layout.sh . "$root"
millrace=$root/usr/bin/millrace
cp -rL deploy/demo/models "$root/models"
chmod -R a+rX "$root"

# --- It runs.
config=$root/test.yaml
{
  echo "repository: $root/models"
  echo "ingress: {grpc_listen: '127.0.0.1:0', http_listen: '127.0.0.1:0'}"
  echo "observer: {metrics: '127.0.0.1:0'}"
} >"$config"
# Only where other users exist: a sandbox may know no other than the one it runs as.
if [[ $(id -u) -eq 0 ]] && setpriv --reuid=daemon --clear-groups true 2>/dev/null; then
  separate=yes
  users=(ingress:daemon features:bin execution:sys aggregation:games registry:man
    observer:news)
  sed -i "s/^ingress: {/ingress: {user: daemon, /" "$config"
  sed -i "s/^observer: {/observer: {user: news, /" "$config"
  for pair in "${users[@]:1:4}"; do echo "${pair%:*}: {user: ${pair#*:}}" >>"$config"; done
else
  separate=no
  echo "SKIPPED: a user for each stage (not root, or in a sandbox without other users)"
fi
expect "the configuration is taken" "$millrace" serve --check-config "$config"
"$millrace" serve "$config" --admin-socket "$root/admin.sock" 2>"$root/log" &
keeper=$!
expect "it becomes ready" "$millrace" wait-ready --admin-socket "$root/admin.sock" --timeout 60
if [[ $separate == yes ]]; then
  for pair in "${users[@]}"; do
    pid=$("$millrace" status --json --admin-socket "$root/admin.sock" |
      python3 -c "import json, sys
for p in json.load(sys.stdin)['processes']:
    if p['stage'] == '${pair%:*}': print(p['pid'])" | head -1)
    expect "${pair%:*} runs as ${pair#*:}" \
      test "$(stat -c %U "/proc/$pid")" = "${pair#*:}"
  done
  expect "the stages are contained" bash -c "! grep -q no_containment '$root/log'"
fi
kill -TERM "$keeper"
expect "it stops in good order" wait "$keeper"
keeper=
[[ $failures -eq 0 ]] || cat "$root/log" >&2

# --- The unit. `verify` says what it does not like, and returns 0.
unit=$root/usr/lib/systemd/system/millrace.service
sed -i "s#=/usr/lib/millrace/millrace#=$root/usr/lib/millrace/millrace#" "$unit"
said=$(systemd-analyze verify "$unit" 2>&1 | grep -v "$root/.* is marked" || true)
expect "systemd finds no fault in the unit: $said" test -z "$said"
expect "the unit's exposure is at most 2.0" \
  systemd-analyze security --offline=true --no-pager --threshold=20 "$unit" >/dev/null
# A planted fault is seen.
sed 's/^ProtectHome=yes/ProtectHoem=yes/' "$unit" >"$root/wrong.service"
expect "a misspelt line is seen" grep -q ProtectHoem \
  <(systemd-analyze verify "$root/wrong.service" 2>&1)

# --- Names: what one file says of users, the others know.
while read -r user; do
  expect "systemd makes the user $user" grep -q "^u $user " deploy/systemd/millrace.sysusers
  expect "the container makes the user $user" grep -qw "${user#millrace-}" \
    <(grep 'for stage in' deploy/container/Containerfile)
done < <(grep -oE 'millrace-[a-z]+' deploy/container/container.yaml)
expect "the container's configuration is taken" \
  "$millrace" serve --check-config deploy/container/container.yaml

# --- The container has every library that a program names.
for program in "${programs[@]}"; do
  for library in $(objdump -p "$root/usr/lib/millrace/$program" | awk '/NEEDED/ {print $2}'); do
    path=$(readlink -f "$(/sbin/ldconfig -p | awk -v l="$library" '$1 == l {print $NF; exit}')")
    # A package may name the file by its place before the folders were merged.
    package=$({ dpkg -S "$path" 2>/dev/null || dpkg -S "${path#/usr}"; } | cut -d: -f1)
    case $package in libc6 | libgcc-s1) continue ;; esac
    expect "$program needs $library of $package" \
      grep -qxF "      $package \\" deploy/container/Containerfile
  done
done
[[ $failures -eq 0 ]]
