#!/usr/bin/env python3
"""Runs the pair bench with tiny counts, for the subjects that need no daemon, and reads its JSON.

usage: pair_bench_test.py PROGRAM
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)
SUBJECTS = ["millrace", "bare", "spsc_ring", "boost_mq_spin", "boost_mq_block", "mutex_cond",
            "posix_mq", "unix_socket", "pipe"]
SIZES = ["inline", "64 B", "1 KiB", "16 KiB", "256 KiB"]
COMMON = {("floor", "ns"), ("unpaused_floor", "ns"), ("runs_kept", "runs"),
          ("runs_dropped", "runs")}
LATENCY = COMMON | {(name, unit) for name in ["p50", "p99", "p999"]
                    for unit in ["floors", "unpaused floors", "ns"]}
STREAM = COMMON | {("message", "floors"), ("message", "ns"), ("rate", "GB/s")}


def names():
    """What is in the folders where names of shared memory stay."""
    found = set()
    for folder in ["/dev/shm", "/dev/mqueue"]:
        if os.path.isdir(folder):
            found |= {name for name in os.listdir(folder) if "millrace" in name}
    return found


class PairBenchTest(unittest.TestCase):
    def run_bench(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "rows.json")
            # Whether a floor is steady is not what is tested here: any run will do.
            result = subprocess.run(
                [PROGRAM, "--quick", "--tolerance", "1000", "--without", "iceoryx",
                 "--json", file, *arguments],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False)
            self.assertEqual(result.returncode, 0, result.stderr)
            with open(file, encoding="utf-8") as rows:
                return json.load(rows), result.stdout

    def test_all_rows_are_there(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("two processors are needed")
        before = names()
        rows, output = self.run_bench()
        self.assertLessEqual(names(), before)
        cells = {}
        for row in rows:
            self.assertEqual(set(row), {"case", "subject", "metric", "unit", "value"})
            cells.setdefault((row["case"], row["subject"]), {})[row["metric"], row["unit"]] = row["value"]
        expected = {(f"{mode}, {size}", subject) for subject in SUBJECTS for size in SIZES
                    for mode in ["latency", "stream"] if f"{subject}, {size}: left out" not in output}
        self.assertEqual(set(cells), expected)
        for (case, subject), figures in cells.items():
            self.assertEqual(set(figures), LATENCY if case.startswith("latency") else STREAM)
            for (metric, unit), value in figures.items():
                if metric != "runs_dropped":
                    self.assertGreater(value, 0, (case, subject, metric, unit))
        # A case is one size: what has 4096 times the bytes takes longer.
        for subject in ["millrace", "spsc_ring"]:
            self.assertGreater(cells["latency, 256 KiB", subject]["p50", "ns"],
                               cells["latency, 64 B", subject]["p50", "ns"])

    def test_only_what_was_asked_for(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("two processors are needed")
        rows, _ = self.run_bench("--only", "latency, 64 B/pipe", "--only", "stream, 1 KiB/millrace")
        self.assertEqual({(row["case"], row["subject"]) for row in rows},
                         {("latency, 64 B", "pipe"), ("stream, 1 KiB", "millrace")})

    def test_wrong_bytes_are_an_error(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("two processors are needed")
        result = subprocess.run(
            [PROGRAM, "--quick", "--tolerance", "1000", "--plant", "--only", "64 B/spsc_ring"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("other bytes than were sent", result.stderr)


if __name__ == "__main__":
    unittest.main()
