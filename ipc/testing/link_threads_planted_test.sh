#!/usr/bin/env bash
# ThreadSanitizer sees a release that the link forgot, in either direction, and nothing else.
# Usage: link_threads_planted_test.sh PROGRAM
set -u

program=$1
failed=0

for fault in none submit return; do
  said=$("$program" "$fault" 2>&1)
  code=$?
  races=$(grep -c "WARNING: ThreadSanitizer: data race" <<<"$said")
  if { [ "$fault" = none ] && [ "$code" = 0 ] && [ "$races" = 0 ]; } ||
    { [ "$fault" != none ] && [ "$code" != 0 ] && [ "$races" != 0 ]; }; then
    echo "passed: $fault"
    continue
  fi
  failed=1
  echo "FAILED: $fault ended with $code and $races races"
  echo "$said" | head -60
done
exit $failed
