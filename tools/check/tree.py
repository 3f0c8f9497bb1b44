"""The files of a checkout as the rules see them, and the form of a finding."""

import os
import re
import subprocess
from collections import namedtuple

SKIPPED_FOLDERS = ("testdata",)

Finding = namedtuple("Finding", "path line rule message")


class Tree:
    """The files of a checkout: text by path, read once, paths relative to the root."""

    def __init__(self, root, paths):
        self.root = root
        self.texts = {}
        for path in sorted(paths):
            text = self._read(os.path.join(root, path))
            if text is not None:
                self.texts[path] = text

    @staticmethod
    def _read(full_path):
        if os.path.islink(full_path) or not os.path.isfile(full_path):
            return None
        try:
            with open(full_path, encoding="utf-8") as file:
                text = file.read(2_000_000)
        except UnicodeDecodeError:
            return None
        return None if "\0" in text else text

    def files(self, suffixes=None):
        """(path, text) of our own files, optionally by suffix; test data is not ours to judge."""
        for path, text in self.texts.items():
            if any(part in SKIPPED_FOLDERS for part in path.split("/")[:-1]):
                continue
            if suffixes is None or path.endswith(suffixes):
                yield path, text

    def builds(self):
        return ((p, t) for p, t in self.files() if os.path.basename(p) == "BUILD")

    def scripts(self):
        """Shell scripts, by suffix or first line."""
        for path, text in self.files():
            if path.endswith(".sh") or re.match(r"#!.*\b(ba)?sh\n", text):
                yield path, text


def list_paths(root):
    """What git tracks or would track; every file where there is no git."""
    result = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if result.returncode == 0:
        return [path for path in result.stdout.decode().split("\0") if path]
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f != ".git" and not f.startswith("bazel-")]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return found


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
