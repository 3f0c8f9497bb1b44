"""Counts test cases from Bazel's build events and prints "N passed, N failed" as the last line.

usage: count_tests.py EVENTS_FILE BAZEL_EXIT_STATUS

Cases come from each test's XML report. A test that failed without a failing case in its report
(it crashed, timed out or did not build) counts as one failed case, so that nothing is lost.
Skipped cases (no device, say) are neither passed nor failed; they are told on the line before.
"""

import json
import os
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree


class Counts:
    """What one test, or all of them together, came to."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def count_report(xml_text):
    """The counts of one XML report; nothing counted where it cannot be read."""
    counts = Counts()
    try:
        root = ElementTree.fromstring(xml_text)
    except ElementTree.ParseError:
        return counts
    for case in root.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed += 1
        elif case.find("skipped") is not None or case.get("result") == "skipped":
            counts.skipped += 1
        elif case.get("status") == "notrun":
            counts.skipped += 1
        else:
            counts.passed += 1
    return counts


def _report_text(result):
    for output in result.get("testActionOutput", []):
        uri = output.get("uri", "")
        if output.get("name") == "test.xml" and uri.startswith("file://"):
            path = urllib.parse.unquote(uri[len("file://"):])
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    return file.read()
    return ""


def count_events(lines, read_report=_report_text):
    """Adds up all tests in Bazel's event stream; the last attempt of each test counts."""
    per_test, unbuilt = {}, set()
    for line in lines:
        event = json.loads(line)
        identity = event.get("id", {})
        if "testResult" in identity:
            result = event.get("testResult", {})
            key = (identity["testResult"]["label"], identity["testResult"].get("shard", 1),
                   identity["testResult"].get("run", 1))
            counts = count_report(read_report(result))
            if result.get("status") != "PASSED" and counts.failed == 0:
                counts.failed = 1
            elif result.get("status") == "PASSED" and not (counts.passed or counts.skipped):
                counts.passed = 1
            per_test[key] = counts
        elif "testSummary" in identity:
            status = event.get("testSummary", {}).get("overallStatus", "NO_STATUS")
            if status in ("NO_STATUS", "FAILED_TO_BUILD"):
                unbuilt.add(identity["testSummary"]["label"])
        elif "targetCompleted" in identity and not event.get("completed", {}).get("success"):
            unbuilt.add(identity["targetCompleted"]["label"])
    total = Counts()
    for counts in per_test.values():
        total.add(counts)
    ran = {label for label, _, _ in per_test}
    total.failed += len(unbuilt - ran)
    return total, sorted(unbuilt - ran)


# Bazel's exit status where no test was asked for by the pattern: not a failure.
NO_TESTS_FOUND = 4


def main(events_path, bazel_status):
    lines = []
    if os.path.exists(events_path):
        with open(events_path, encoding="utf-8") as file:
            lines = [line for line in file if line.strip()]
    total, unbuilt = count_events(lines)
    for label in unbuilt:
        print(f"not built: {label}")
    if bazel_status not in (0, NO_TESTS_FOUND) and total.failed == 0:
        print(f"bazel ended with status {bazel_status}: counted as one failure")
        total.failed = 1
    if total.skipped:
        print(f"skipped: {total.skipped}")
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
