#!/usr/bin/env bash
# tools/dev lists every verb with its help, refuses what is no verb, and hands arguments on.
set -euo pipefail

fail() {
  echo "dev_test: $1" >&2
  exit 1
}

listing=$(tools/dev) || fail "a call without arguments should list the verbs and succeed"
for verb in bench check run stress test; do
  grep -Eq "^  $verb +[A-Z][a-z]" <<<"$listing" || fail "'$verb' is not listed with its help"
done
grep -q 'lib\|dev_test\|BUILD' <<<"$listing" && fail "the list names what is no verb: $listing"

for wrong in nonsense ../dev lib BUILD; do
  status=0
  tools/dev "$wrong" >/dev/null 2>&1 || status=$?
  [[ $status -eq 2 ]] || fail "'$wrong' should end with status 2, not $status"
done

# A verb of our own in a copy: found by its file alone, run in the root, arguments kept whole.
copy=$TEST_TMPDIR/copy
mkdir -p "$copy/tools/dev.d" "$copy/below"
cp tools/dev "$copy/tools/dev"
# shellcheck disable=SC2016 # the verb expands them, not we
printf '#!/usr/bin/env bash\n# Say hello\necho "$PWD|$#|$1"\n' >"$copy/tools/dev.d/hello"
chmod +x "$copy/tools/dev.d/hello"
said=$(cd "$copy/below" && ../tools/dev hello "two words" x)
[[ $said == "$(cd "$copy" && pwd)|2|two words" ]] || fail "hello said '$said'"
