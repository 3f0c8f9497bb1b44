#!/usr/bin/env bash
# Runs a test that was built with sanitizers. sanitized_test fills in what stands in capitals;
# arguments, environment and data are passed on. Where Bazel does not run it, it finds its data
# beside itself.
set -eu

test=./@TEST@
sanitizers="@SANITIZERS@"
options="@OPTIONS@"

[ -n "${TEST_SRCDIR:-}" ] || cd "$0.runfiles/@WORKSPACE@"
for option in $options; do
  export "${option?}"
done

# The TSan of gcc 12 does not know address spaces that are more random than this.
bits=/proc/sys/vm/mmap_rnd_bits
if [ "$sanitizers" = tsan ] && [ -r "$bits" ] && [ "$(cat "$bits")" -gt 28 ] &&
  setarch -R true 2>/dev/null; then
  exec setarch -R "$test" "$@"
fi
exec "$test" "$@"
