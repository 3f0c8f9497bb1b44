#!/usr/bin/env python3
"""Runs the bench of trees on two golden cases, beside a library that replays their margins.

usage: trees_bench_test.py PROGRAM REPLAY_LIBRARY
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

REPLAY = os.path.abspath(sys.argv.pop(2))
PROGRAM = sys.argv.pop(1)
GOLDEN = pathlib.Path("kernels/testdata").resolve()
METRICS = {("call", "us"), ("call_p25", "us"), ("call_p75", "us"), ("row", "ns"), ("time_over_ours", "ratio"),
           ("unequal_margins", "margins"), ("max_distance", "ulp"), ("max_difference", "margin")}


class TreesBenchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_bench(self, golden, *arguments, peers=("xgboost", "lightgbm"), wrong=None, batches="1,16,43",
                  list_file=None, **changes):
        """The result of a run with one case, and its rows. `wrong`: (which calls, row)."""
        case = json.loads((GOLDEN / golden / "case.json").read_text())
        entry = {"name": golden, "library": case["library"], "model": str(GOLDEN / golden / case["model"]),
                 "row_file": str(GOLDEN / golden / "rows.bin"), "rows": case["rows"],
                 "features": case["features"], "groups": case["groups"], "trees": 1, "leaves": 1, "depth": 1}
        entry.update(changes)
        libraries = [{"subject": name, "library": name, "version": "0", "path": REPLAY} for name in peers]
        (self.folder / "cases.json").write_text(json.dumps({"libraries": libraries, "cases": [entry]}))
        environment = {"REPLAY_ROWS": entry["row_file"], "REPLAY_MARGINS": str(GOLDEN / golden / "margin.bin"),
                       "REPLAY_FEATURES": str(case["features"]), "REPLAY_GROUPS": str(case["groups"])}
        if wrong:
            environment.update(REPLAY_WRONG=wrong[0], REPLAY_WRONG_ROW=str(wrong[1]))
        file = self.folder / "rows.json"
        result = subprocess.run(
            [PROGRAM, "--list", list_file or self.folder / "cases.json", "--json", file, "--round_ms", "1",
             "--batches", batches, *(arguments or ("--rounds", "2"))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False,
            env={**os.environ, **environment})
        return result, json.loads(file.read_text()) if file.exists() else None

    def subjects(self, golden):
        result, rows = self.run_bench(golden)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = {}
        for row in rows:
            self.assertEqual(set(row), {"case", "subject", "metric", "unit", "value"})
            found.setdefault((row["case"], row["subject"]), set()).add((row["metric"], row["unit"]))
        self.assertTrue(all(metrics == METRICS for metrics in found.values()), found)
        return set(found)

    def test_xgboost(self):
        self.assertEqual(self.subjects("xgb32_logistic"),
                         {(f"xgb32_logistic, batch {batch}", subject) for batch in (1, 16, 43)
                          for subject in ("millrace", "xgboost")})

    def test_lightgbm_with_several_outputs(self):
        one = {("lgb47_multiclass, batch 1", subject) for subject in ("millrace", "lightgbm")}
        many = {(f"lgb47_multiclass, batch {batch}", subject) for batch in (16, 43)
                for subject in ("millrace", "lightgbm", "lightgbm_rows")}
        self.assertEqual(self.subjects("lgb47_multiclass"), one | many)

    def fails(self, sentence, golden, *arguments, code=1, **options):
        result, rows = self.run_bench(golden, *arguments, **options)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertIn(sentence, result.stderr)
        self.assertIsNone(rows)

    def test_a_bit_in_which_we_and_the_library_differ(self):
        self.fails("xgb32_logistic: batch 1, row 17, group 0: millrace gives", "xgb32_logistic", wrong=("all", 17))
        self.fails("lgb47_multiclass: batch 1, row 5, group 3: millrace gives", "lgb47_multiclass",
                   wrong=("all", 5))

    def test_a_bit_in_which_the_library_differs_from_itself(self):
        self.fails("xgb32_logistic: batch 1, row 33, group 0: xgboost gives", "xgb32_logistic",
                   wrong=("in_place", 33))
        self.fails("lgb47_multiclass: batch 16, row 3, group 3: lightgbm_rows gives", "lgb47_multiclass",
                   batches="16", wrong=("in_place", 3))

    def test_a_model_of_another_shape(self):
        self.fails("shape is not the case's", "xgb32_logistic",
                   model=str(GOLDEN / "xgb32_softprob" / "model.json"))

    def test_a_peer_that_is_not_there(self):
        self.fails("the list has no xgboost", "xgb32_logistic", peers=["lightgbm"])

    def test_arguments(self):
        self.fails('no case "nothing"; there are: xgb32_logistic', "xgb32_logistic", "--cases", "nothing", code=2)
        self.fails("has 86 rows, no batch of 87", "xgb32_logistic", batches="1,87", code=2)
        self.fails("--batches", "xgb32_logistic", batches="0", code=2)
        self.fails("--rounds", "xgb32_logistic", "--rounds", "0", code=2)
        self.fails("does not hold 85 rows", "xgb32_logistic", rows=85, code=2)
        self.fails("does not hold 87 rows", "xgb32_logistic", rows=87, code=2)
        self.fails("cannot read /nowhere", "xgb32_logistic", list_file="/nowhere", code=2)


if __name__ == "__main__":
    unittest.main()
