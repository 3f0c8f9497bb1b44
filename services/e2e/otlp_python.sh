#!/usr/bin/env bash
# Prints the Python of the environment that the OTLP receiver runs in, and makes it once for each set
# of pins: under $XDG_CACHE_HOME or ~/.cache; where a sandbox keeps that closed, under $TEST_TMPDIR.
set -euo pipefail
pins=$(dirname "$0")/otlp_requirements.txt
name=otlp-$(sha256sum < "$pins" | cut -c1-16)
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}

complete() { [[ -e $1/complete ]]; }

make() {
  local folder=$1
  mkdir -p "$(dirname "$folder")" && [[ -w $(dirname "$folder") ]] || return 1
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" install -q --disable-pip-version-check --only-binary :all: --no-deps \
    -r "$pins" >&2
  touch "$folder/complete"
}

for base in "${XDG_CACHE_HOME:-$home/.cache}/millrace" "${TEST_TMPDIR:-/tmp}"; do
  if complete "$base/$name" || make "$base/$name" 2>/dev/null; then
    echo "$base/$name/bin/python"
    exit 0
  fi
done
echo "no environment for the OTLP receiver: pip cannot install $pins" >&2
exit 1
