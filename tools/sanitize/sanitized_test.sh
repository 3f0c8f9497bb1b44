#!/usr/bin/env bash
# A sanitized_test reports what its sanitizers see, and nothing where there is no fault.
# Usage: sanitized_test.sh PROGRAM [FAULT=REPORT...]: each fault named must be reported so; each
# fault not named must pass unseen.
set -u

program=tools/sanitize/$1
shift
failed=0

for fault in none heap overflow race; do
  report=
  for pair in "$@"; do
    [ "${pair%%=*}" != "$fault" ] || report=${pair#*=}
  done
  said=$("$program" "$fault" 2>&1)
  code=$?
  if [ -n "$report" ] && [ "$code" = 0 ]; then
    echo "FAILED: $fault was not seen"
  elif [ -z "$report" ] && [ "$code" != 0 ]; then
    echo "FAILED: $fault ended with $code"
  elif [[ $said != *"$report"* ]]; then
    echo "FAILED: $fault ended, but '$report' was not said"
  else
    echo "passed: $fault"
    continue
  fi
  failed=1
  echo "$said" | head -40
done
exit $failed
