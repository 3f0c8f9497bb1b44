# shellcheck shell=bash
# Functions that the verbs share; a verb sources this file from the repository's root.

setup_packages_file=tools/dev.d/lib/packages.txt

# Prints the packages of packages.txt that are not installed.
missing_packages() {
  local wanted installed
  wanted=$(sed -e 's/#.*//' -e '/^ *$/d' "$setup_packages_file" | sort -u)
  # A package name here may stand for several architectures; one installed is enough.
  # dpkg-query exits 1 when any name is unknown, and prints the known ones all the same.
  # shellcheck disable=SC2086 # one word each
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $wanted 2>/dev/null |
    sed -n 's/^ii *//p' | sort -u || true)
  comm -23 <(echo "$wanted") <(echo "$installed")
}

# Installs what is missing; says so first, and is silent and quick when nothing is.
ensure_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "This is not a Debian system; install what $setup_packages_file lists by hand." >&2
    return 0
  fi
  local missing
  missing=$(missing_packages | tr '\n' ' ')
  [[ -z ${missing// /} ]] && return 0

  local as_root=()
  if [[ $(id -u) -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
      echo "Not root and no sudo; as root run: apt-get install $missing" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "Installing by apt-get: $missing"
  local log
  log=$(mktemp)
  # shellcheck disable=SC2086 # one word each
  if ! { "${as_root[@]}" apt-get -q update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
      -o Dpkg::Use-Pty=0 --no-install-recommends install $missing; } \
    >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    echo "apt-get failed (its words are above)." >&2
    return 1
  fi
  rm -f "$log"
}

# Builds one target and prints the path of its program.
build_program() {
  local label=$1
  bazel build "$label" >&2 || return 1
  local path=${label#//}
  echo "$(bazel info bazel-bin 2>/dev/null)/${path/://}"
}
