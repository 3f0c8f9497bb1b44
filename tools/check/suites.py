"""The rule that every test has a size and is in a suite of the root, and what repairs it."""

import os
import re

from tree import Finding, line_of

_CALL = r"(?m)^\s*\[?\w*_test\("
_LOAD = 'load("//tools/check:suites.bzl", "test_suites")\n'
_END = "test_suites()\n"
_LIST = r"TEST_PACKAGES = \[(.*?)\]"


def _packages_with_tests(tree):
    """Package to the (path, text) of its BUILD file."""
    return {os.path.dirname(path): (path, text)
            for path, text in tree.builds() if re.search(_CALL, text)}


def _arguments(text, start):
    """The text from an opening bracket's end to the bracket that closes it."""
    depth = 1
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return text[start:]


def _listed(tree):
    match = re.search(_LIST, tree.texts.get("BUILD", ""), re.DOTALL)
    return set(re.findall(r'"([^"]+)"', match.group(1))) if match else set()


def _has_suites(text):
    return re.search(r"(?m)^test_suites\(\)$", text)


def tests(tree):
    """Every test has a size and is in a suite of the root."""
    listed, packages = _listed(tree), _packages_with_tests(tree)
    for package, (path, text) in packages.items():
        for call in re.finditer(_CALL, text):
            if not re.search(r"\bsize\s*=", _arguments(text, call.end())):
                yield Finding(path, line_of(text, call.end()), "tests", "a test needs a size")
        if package not in listed or not _has_suites(text):
            yield Finding(path, 1, "tests", "its tests are in no suite: tools/dev check --fix")
    for package in sorted(listed - set(packages)):
        yield Finding("BUILD", 1, "tests", f'"{package}" has no tests: tools/dev check --fix')


def fix_tests(tree):
    """Adds test_suites() to the BUILD files that lack it, and writes the root's list anew."""
    packages = _packages_with_tests(tree)
    for path, text in packages.values():
        if not _has_suites(text):
            loads = list(re.finditer(r"(?m)^load\(.*\)\n", text))
            at = loads[-1].end() if loads else 0
            after = "" if loads else "\n"
            text = text[:at] + _LOAD + after + text[at:].rstrip("\n") + "\n\n" + _END
            _write(tree, path, text)
    root = tree.texts.get("BUILD", "")
    names = "".join(f'    "{package}",\n' for package in sorted(packages))
    fixed = re.sub(_LIST, f"TEST_PACKAGES = [\n{names}]", root, flags=re.DOTALL)
    if fixed != root:
        _write(tree, "BUILD", fixed)


def _write(tree, path, text):
    with open(os.path.join(tree.root, path), "w", encoding="utf-8") as file:
        file.write(text)
