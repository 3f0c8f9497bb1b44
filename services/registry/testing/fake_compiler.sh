#!/bin/sh
# Stands in for the compiler in tests: does what the first line of the "model" tells it to. Any
# other line is taken as the report to print; the plan is then the second line, else "PLAN".
IFS= read -r line <&3
case "$line" in
hang) exec /bin/sleep 1000 ;;
crash) kill -SEGV $$ ;;
silent) exit 3 ;;
complain)
  echo "a sentence for the log" >&2
  exit 3
  ;;
# A grandchild that outlives its parent and keeps the plan open.
linger)
  /bin/sleep 1000 &
  echo PLAN >&4
  echo '{"ok":true,"format":"xgboost_json","features":2,"groups":1,"margin_dtype":"FP32",
    "prediction_dtype":"FP32","prediction_columns":1,"objective":"reg:squarederror","trees":1,
    "nodes":1,"plan_bytes":5,"feature_names":[]}'
  ;;
# More than anybody should keep.
flood) exec /usr/bin/yes "a long line of nothing in particular" ;;
*)
  IFS= read -r plan <&3
  printf '%s\n' "${plan:-PLAN}" >&4
  printf '%s\n' "$line"
  ;;
esac
