#!/usr/bin/env python3
"""What count_tests.py makes of Bazel's events and of the tests' reports."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import count_tests  # noqa: E402 (after the path)

GTEST = """<testsuites tests="4"><testsuite name="S">
  <testcase name="a" status="run" result="completed"/>
  <testcase name="b" status="run" result="completed"><failure message="no"/></testcase>
  <testcase name="c" status="run" result="skipped"><skipped message="no device"/></testcase>
  <testcase name="d" status="notrun" result="suppressed"/>
</testsuite></testsuites>"""
ONE_PASS = '<testsuites><testsuite><testcase name="x" status="run"/></testsuite></testsuites>'


def result(label, status, report="", run=1):
    return json.dumps({
        "id": {"testResult": {"label": label, "run": run}},
        "testResult": {"status": status, "report": report},
    })


def count(*lines):
    total, _ = count_tests.count_events(lines, read_report=lambda result: result["report"])
    return total.passed, total.failed, total.skipped


class Counting(unittest.TestCase):

    def test_cases_of_a_report(self):
        self.assertEqual((1, 1, 2), count(result("//a", "FAILED", GTEST)))

    def test_reports_add_up_and_runs_count_once_each(self):
        self.assertEqual((2, 0, 0), count(result("//a", "PASSED", ONE_PASS),
                                          result("//b", "PASSED", ONE_PASS)))
        self.assertEqual((2, 0, 0), count(result("//a", "PASSED", ONE_PASS, run=1),
                                          result("//a", "PASSED", ONE_PASS, run=2)))

    def test_of_several_attempts_the_last_counts(self):
        self.assertEqual((1, 0, 0), count(result("//a", "FAILED"),
                                          result("//a", "PASSED", ONE_PASS)))

    def test_a_crash_or_time_out_without_a_failing_case_is_one_failure(self):
        self.assertEqual((0, 1, 0), count(result("//a", "TIMEOUT")))
        self.assertEqual((1, 1, 0), count(result("//a", "FAILED", ONE_PASS)))
        self.assertEqual((0, 1, 0), count(result("//a", "FAILED", "<testsuites><broken")))

    def test_a_pass_without_a_report_is_one_pass(self):
        self.assertEqual((1, 0, 0), count(result("//a", "PASSED")))

    def test_what_did_not_build_is_a_failure_once(self):
        target = json.dumps({"id": {"targetCompleted": {"label": "//a"}}, "completed": {}})
        summary = json.dumps({"id": {"testSummary": {"label": "//a"}},
                              "testSummary": {"overallStatus": "NO_STATUS"}})
        self.assertEqual((0, 1, 0), count(target, summary))
        built = json.dumps({"id": {"targetCompleted": {"label": "//b"}},
                            "completed": {"success": True}})
        self.assertEqual((0, 0, 0), count(built))


class LastLine(unittest.TestCase):

    def last_line(self, lines, bazel_status):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "events")
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join(lines))
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                status = count_tests.main(path, bazel_status)
        return status, said.getvalue().splitlines()[-1]

    def test_success_failure_and_bazel_s_own_failure(self):
        passed, failed = result("//a", "PASSED"), result("//b", "FAILED")
        self.assertEqual((0, "1 passed, 0 failed"), self.last_line([passed], 0))
        self.assertEqual((1, "1 passed, 1 failed"), self.last_line([passed, failed], 3))
        self.assertEqual((1, "0 passed, 1 failed"), self.last_line([], 1))
        self.assertEqual((0, "0 passed, 0 failed"), self.last_line([], 4))


if __name__ == "__main__":
    unittest.main()
