"""Counts checks: one PASS or FAIL line for each, "N passed, N failed" at the end."""

import inspect
import asyncio


class Report:

    def __init__(self, prefix):
        self.prefix = prefix
        self.passed = self.failed = 0

    def check(self, name, function, *arguments):
        try:
            result = function(*arguments)
            if inspect.iscoroutine(result):
                asyncio.run(result)
        except Exception as fault:  # whatever a client raises is its check's failure
            self.failed += 1
            print(f"FAIL {self.prefix}: {name}: {type(fault).__name__}: {fault}", flush=True)
        else:
            self.passed += 1
            print(f"PASS {self.prefix}: {name}", flush=True)

    def end(self):
        """The exit code."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0
