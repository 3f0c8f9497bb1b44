#!/usr/bin/env python3
"""Runs the device bench over the SIMT shim with tiny counts, and reads its JSON.

usage: gpu_trees_test.py PROGRAM PLUGIN
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

PLUGIN = sys.argv.pop()
PROGRAM = sys.argv.pop()


def run(*arguments, faults=""):
    return subprocess.run([PROGRAM, PLUGIN, "--quick", *arguments], capture_output=True, text=True,
                          env={**os.environ, "MILLRACE_SIMT_FAULTS": faults}, check=False)


class GpuTreesTest(unittest.TestCase):
    def test_rows(self):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "rows.json")
            result = run("--json", file)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            with open(file, encoding="utf-8") as text:
                rows = json.load(text)
        for row in rows:
            self.assertEqual(set(row), {"case", "subject", "metric", "unit", "value"})
        about = {row["metric"]: row["value"] for row in rows if row["case"] == "run"}
        self.assertRegex(about["date"], r"^\d{4}-\d\d-\d\d$")
        self.assertEqual(about["device"], "Millrace SIMT shim")
        subjects = {row["subject"] for row in rows}
        self.assertLessEqual({"floor", "gpu", "gpu fast"}, subjects)
        self.assertTrue(any(subject.startswith("cpu ") for subject in subjects), subjects)
        for case in {row["case"] for row in rows if row["subject"] == "gpu"}:
            metrics = {row["metric"]: row["value"] for row in rows
                       if row["case"] == case and row["subject"] == "gpu"}
            self.assertEqual(set(metrics), {"p50", "p99", "throughput"})
            self.assertTrue(all(value > 0 for value in metrics.values()), metrics)

    def test_no_device(self):
        result = run(faults="driver=0")
        self.assertEqual(result.returncode, 3, result.stdout + result.stderr)
        self.assertIn("no CUDA driver", result.stdout)

    def test_a_fault_is_no_measurement(self):
        result = run(faults="kernel#9=719")
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn("WRONG", result.stdout)


if __name__ == "__main__":
    unittest.main()
