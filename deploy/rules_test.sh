#!/usr/bin/env bash
# The alerts: Prometheus takes them, they fire when they should and not else, and the runbook has a
# section for each.
set -euo pipefail
cd deploy/prometheus
failures=0

expect() { # WHAT COMMAND...
  local what=$1
  shift
  if ! "$@"; then
    echo "FAILED: $what" >&2
    failures=$((failures + 1))
  fi
}

expect "promtool takes the rules" promtool check rules rules.yaml
expect "the rules do what their tests say" promtool test rules rules_test.yaml rules_days_test.yaml

alerts=$(sed -n 's/^ *- alert: //p' rules.yaml)
expect "there are alerts" test -n "$alerts"
for alert in $alerts; do
  expect "RUNBOOK.md has a section for $alert" grep -qx "## $alert" RUNBOOK.md
  expect "$alert names its section" grep -q "RUNBOOK.md#${alert,,}\"" rules.yaml
  expect "$alert is tested" grep -q "alertname: $alert\$" rules_test.yaml rules_days_test.yaml
done
while read -r section; do
  expect "$section of RUNBOOK.md is an alert" grep -qx "$section" <<<"$alerts"
done < <(sed -n 's/^## //p' RUNBOOK.md)

# The tests can fail: an alert with another threshold is found.
planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT
sed 's/> (14.4 \* 0.001)/> (1.0 * 0.9)/' rules.yaml >"$planted/rules.yaml"
cp rules_test.yaml "$planted/"
expect "another threshold is another file" bash -c "! cmp -s rules.yaml '$planted/rules.yaml'"
expect "a planted threshold is seen" \
  bash -c "! promtool test rules '$planted/rules_test.yaml' >/dev/null 2>&1"

# Dashboards are JSON, and each panel has a title and a query.
expect "the dashboards are whole" python3 - ../grafana/*.json <<'PYTHON'
import json, sys
for path in sys.argv[1:]:
    with open(path) as file:
        board = json.load(file)
    panels = [p for p in board["panels"] if p["type"] != "row"]
    assert board["uid"] and board["title"] and panels, path
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"]), path
    for panel in panels:
        assert panel["title"] and all(t["expr"] for t in panel["targets"]), panel["title"]
    assert any("histogram_quantile" in t["expr"] for p in panels for t in p["targets"]), path
PYTHON
take_queries() {
  python3 - ../grafana/*.json >"$planted/queries.yaml" <<'PYTHON'
import json, sys
queries = []
for path in sys.argv[1:]:
    with open(path) as file:
        board = json.load(file)
    for panel in board["panels"]:
        queries += [target["expr"] for target in panel.get("targets", [])]
    queries += [note["expr"] for note in board["annotations"]["list"]]
for variable, value in (("$__rate_interval", "5m"), ("$job", "j"), ("$model", ".*")):
    queries = [query.replace(variable, value) for query in queries]
rules = [{"record": "a:b%d" % i, "expr": query} for i, query in enumerate(queries)]
print(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
PYTHON
  promtool check rules "$planted/queries.yaml" >/dev/null
}
expect "Prometheus takes every query of the dashboards" take_queries
[[ $failures -eq 0 ]]
