"""The rules of this repository that a machine can hold. Run by: tools/dev check

Each rule is a function from the tree to its findings, and has a planted violation in
check_test.py. A finding is one line: path:line: [rule] what is wrong and what to do.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

from memory_order import memory_order
from suites import fix_tests, tests
from tree import Finding, Tree, line_of, list_paths

MAX_LINES = 400
CPP = (".h", ".cc", ".cu", ".cuh")
CODE = CPP + (".py", ".sh", ".bzl", ".proto", ".js", ".html", ".css")


def matches(tree, rule, pattern, message, suffixes=None):
    """A finding for each match of a pattern in a line."""
    for path, text in tree.files(suffixes):
        for match in re.finditer(pattern, text):
            yield Finding(path, line_of(text, match.start()), rule, message % match.group(0))


# --- layering ---------------------------------------------------------------------------------


def read_layers(text):
    layers = {}
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line:
            name, _, allowed = line.partition(":")
            layers[name.strip()] = allowed.split()
    return layers


def layer_of(path, layers):
    """The layer of a path: the longest listed folder, or a folder of its own under a "*"."""
    parts = path.split("/")
    if len(parts) > 2 and parts[0] + "/*" in layers:
        return "/".join(parts[:2])
    return parts[0] if len(parts) > 1 and parts[0] in layers else None


def allowed_layers(layer, layers):
    return layers.get(layer, layers.get(layer.split("/")[0] + "/*", [])) + [layer]


def layering(tree):
    """Every include and every declared dependency against layers.txt."""
    layers = read_layers(tree.texts["tools/check/layers.txt"])
    folders = {path.split("/")[0] for path in list(tree.texts) + list(layers)}
    uses = []  # (path, line, what is used)
    for path, text in tree.files(CPP + (".proto",)):
        pattern = r'(?m)^\s*(?:#\s*include|import(?: public)?)\s+"([^"]+)"'
        for match in re.finditer(pattern, text):
            used = match.group(1)
            beside = os.path.join(os.path.dirname(path), used)
            of_a_library = used.split("/")[0] not in folders
            if beside in tree.texts or not of_a_library:
                uses.append((path, line_of(text, match.start(1)), used))
    for path, text in tree.builds():
        for deps in re.finditer(r"\bdeps\s*=\s*\[(.*?)\]", text, re.DOTALL):
            uses += [(path, line_of(text, deps.start(1) + m.start()), m.group(1) + "/BUILD")
                     for m in re.finditer(r'"//([^":]+)', deps.group(1))]
    for path, line, used in uses:
        own, other = layer_of(path, layers), layer_of(used, layers)
        if own is None:
            yield Finding(path, line, "layering", "the folder is not in tools/check/layers.txt")
        elif other is None:
            yield Finding(path, line, "layering",
                          f'"{used}" is not a path from the root into a folder of layers.txt')
        elif other not in allowed_layers(own, layers):
            yield Finding(path, line, "layering", f"{own} may not depend on {other} ({used})")


# --- house rules ------------------------------------------------------------------------------


def read_long_files(text):
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {line.split()[0]: int(line.split()[1]) for line in lines}


def length(tree):
    """At most 400 lines a file; the exceptions only shrink."""
    exceptions = read_long_files(tree.texts["tools/check/long_files.txt"])
    lengths = {path: text.count("\n") for path, text in tree.files(CODE)}
    for path, lines in lengths.items():
        limit = exceptions.get(path, MAX_LINES)
        if lines > limit:
            yield Finding(path, lines, "length", f"{lines} lines, at most {limit}: split it")
    for path, limit in exceptions.items():
        lines = lengths.get(path, 0)
        if lines <= MAX_LINES:
            yield Finding("tools/check/long_files.txt", 1, "length", f"{path}: remove its line")
        elif lines < limit:
            yield Finding("tools/check/long_files.txt", 1, "length", f"{path}: lower to {lines}")


def unfinished(tree):
    """Unfinished work stands in an issue, not in the code."""
    words = "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"])
    return matches(tree, "unfinished", rf"\b(?:{words})\b", "'%s': do it, or file an issue")


def portable(tree):
    """Nothing names one developer's machine: its folders, or where its packages come from."""
    folders = r"(?<![\w./~$}-])/(?:work|root|home|Users|mnt)/\w+"
    yield from matches(tree, "portable", folders, "'%s' is a path of one machine")
    flags = r"--(?:extra-)?index-url\b|--trusted[-]host\b"
    yield from matches(tree, "portable", flags, "'%s': a machine's own settings say where from")


def headers(tree):
    """A header opens with its contract and is included once."""
    for path, text in tree.files((".h", ".cuh")):
        if not text.startswith("//"):
            yield Finding(path, 1, "headers", "open with the contract, as a comment")
        if not re.search(r"(?m)^#pragma once$", text):
            yield Finding(path, 1, "headers", "#pragma once is missing")


def third_party(tree):
    """Every library has its page."""
    table = tree.texts.get("third_party/libraries.bzl", "")
    for match in re.finditer(r'(?m)^    "(\w+)": struct\($', table):
        page = f"third_party/{match.group(1)}/README.md"
        if page not in tree.texts:
            yield Finding("third_party/libraries.bzl", line_of(table, match.start()),
                          "third_party", f"{page} is missing")


def sanitizers(tree):
    """--config=asan|ubsan|tsan and sanitized_test mean the same."""
    rc, rule = ".bazelrc", "tools/sanitize/sanitized.bzl"
    lines = re.findall(r"(?m)^build:(?:sanitizer|asan|ubsan|tsan) (.*)$", tree.texts.get(rc, ""))
    configs = set(re.findall(r"--(?:copt|linkopt|test_env)=(\S+)", "\n".join(lines)))
    table = tree.texts.get(rule, "").partition("\ndef ")[0]
    rules = set(re.findall(r'"(-\S+|[A-Z]+_OPTIONS=\S+)"', table))
    for flag in sorted(configs - rules):
        yield Finding(rule, 1, "sanitizers", f"{flag} stands in {rc} only")
    for flag in sorted(rules - configs):
        yield Finding(rc, 1, "sanitizers", f"{flag} stands in {rule} only")


def gpu_sources(tree):
    """tools/dev gpu builds without Bazel: its list has every source of common/ that it needs."""
    script = "tools/dev.d/gpu"
    text = tree.texts.get(script, "")
    left_out = tuple(re.findall(r"\*([/_]\w+\.cc)", text))
    named = set(re.findall(r"\b(?:common|kernels)/[\w/]+\.cc\b", text))
    folders = re.findall(r"(kernels/\w+)/\*\.cc", text)
    globbed = {path for path in tree.texts if path.rpartition("/")[0] in folders
               and path.endswith(".cc") and not path.endswith(left_out)}
    pending, seen = sorted(named | globbed), set()
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        for include in re.findall(r'(?m)^#include "([^"]+)"', tree.texts.get(path, "")):
            pending.append(include)
            source = include[:-1] + "cc"
            if include.startswith("common/") and source in tree.texts and source not in named:
                yield Finding(script, 1, "gpu_sources", f"{source} is missing, for {path}")


# --- tools of others --------------------------------------------------------------------------


def run_tool(tree, command, paths):
    """(path, line, message) of a tool that writes gcc's format; nothing where it is missing."""
    if not paths or not shutil.which(command[0]):
        return
    result = subprocess.run(command + paths, cwd=tree.root, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, universal_newlines=True, check=False)
    for line in result.stdout.splitlines():
        match = re.match(r"([^:\s]+):(\d+):\d+: \w+: (.*)", line)
        if match:
            yield match.group(1), int(match.group(2)), match.group(3)


def format_(tree, fix=False):
    """clang-format, one finding a file."""
    paths = [path for path, _ in tree.files(CPP)]
    if fix:
        list(run_tool(tree, ["clang-format", "-i"], paths))
    seen = set()
    for path, line, _ in run_tool(tree, ["clang-format", "--dry-run"], paths):
        if path not in seen:
            seen.add(path)
            yield Finding(path, line, "format", "not formatted: tools/dev check --fix")


def shell(tree):
    """shellcheck on every shell script."""
    paths = [path for path, _ in tree.scripts()]
    command = ["shellcheck", "-x", "-f", "gcc"]
    for path, line, message in run_tool(tree, command, paths):
        yield Finding(path, line, "shell", message)


RULES = {
    "format": format_,
    "gpu_sources": gpu_sources,
    "headers": headers,
    "layering": layering,
    "length": length,
    "memory_order": memory_order,
    "portable": portable,
    "sanitizers": sanitizers,
    "shell": shell,
    "tests": tests,
    "third_party": third_party,
    "unfinished": unfinished,
}


def main():
    parser = argparse.ArgumentParser(prog="tools/dev check")
    parser.add_argument("--fix", action="store_true", help="format the C++ files and complete the test suites, in place")
    parser.add_argument("--only", choices=sorted(RULES), help="check this rule alone")
    arguments = parser.parse_args()
    root = os.getcwd()
    tree = Tree(root, list_paths(root))
    if arguments.fix:
        list(format_(tree, fix=True))
        fix_tests(tree)
        tree = Tree(root, list_paths(root))
    findings = []
    for name, rule in RULES.items():
        if arguments.only in (None, name):
            findings += rule(tree)
    for finding in findings:
        print(f"{finding.path}:{finding.line}: [{finding.rule}] {finding.message}")
    print(f"check: {len(tree.texts)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
