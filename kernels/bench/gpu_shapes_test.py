#!/usr/bin/env python3
"""Runs the sweep of shapes over the SIMT shim with a few of them.

usage: gpu_shapes_test.py PROGRAM
"""

import os
import re
import subprocess
import sys
import unittest

PROGRAM = sys.argv.pop()


def run(*arguments, faults=""):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True,
                          env={**os.environ, "MILLRACE_SIMT_FAULTS": faults}, check=False)


class GpuShapesTest(unittest.TestCase):
    def test_the_chosen_shape_stands_beside_the_best(self):
        result = run("--quick", "--all")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        heads = re.findall(r"^\S.* batch (\d+): chosen ([\d.]+) us .* ([\d.]+) x the best of (\d+)$",
                           result.stdout, re.MULTILINE)
        self.assertEqual([head[0] for head in heads], ["1", "4"], result.stdout)
        shapes = re.findall(r"^ +[\d.]+ us  rows", result.stdout, re.MULTILINE)
        self.assertEqual(len(shapes), sum(int(head[3]) for head in heads))
        self.assertEqual(result.stdout.count("  chosen\n"), 2)
        self.assertTrue(all(float(head[2]) >= 1 for head in heads), heads)

    def test_no_device(self):
        result = run("--quick", faults="driver=0")
        self.assertEqual(result.returncode, 3, result.stdout + result.stderr)

    def test_a_fault_is_no_measurement(self):
        result = run("--quick", faults="kernel#9=719")
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn("FAILED", result.stdout)


if __name__ == "__main__":
    unittest.main()
