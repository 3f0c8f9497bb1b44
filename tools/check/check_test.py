#!/usr/bin/env python3
"""Each rule of check.py catches its planted violation, and lets the right thing pass."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
import check  # noqa: E402 (after the path)
import suites  # noqa: E402
import tree as trees  # noqa: E402

HEADER = "// Contract.\n#pragma once\n"


def read(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


class TreeOnDisk:
    """A checkout made of {path: text}, with the repository's own rule tables."""

    def __init__(self, files):
        self.folder = tempfile.TemporaryDirectory()
        files = {
            "tools/check/layers.txt": read("layers.txt"),
            "tools/check/long_files.txt": "",
            **files
        }
        for path, text in files.items():
            full = os.path.join(self.folder.name, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        self.tree = trees.Tree(self.folder.name, trees.list_paths(self.folder.name))

    def __enter__(self):
        return self.tree

    def __exit__(self, *_):
        self.folder.cleanup()


class RuleTest(unittest.TestCase):

    def findings(self, rule, files):
        with TreeOnDisk(files) as tree:
            return [(f.path, f.line) for f in check.RULES[rule](tree)]

    def catches(self, rule, path, text, line, extra=None):
        self.assertIn((path, line), self.findings(rule, {path: text, **(extra or {})}))

    def passes(self, rule, path, text, extra=None):
        self.assertEqual([], self.findings(rule, {path: text, **(extra or {})}))


class Layering(RuleTest):

    def test_gpu_sources(self):
        files = {
            "tools/dev.d/gpu": "case $file in\n  *_test.cc | */server.cc) ;;\nesac\n"
                               "build common/a.cc $(sources kernels/plan/*.cc)\n",
            "common/a.h": HEADER, "common/a.cc": '#include "common/a.h"\n',
            "common/b.h": HEADER, "common/b.cc": "",
            "kernels/plan/x.h": HEADER + '#include "common/b.h"\n',
            "kernels/plan/x_test.cc": '#include "kernels/plan/x.h"\n',
            "kernels/plan/server.cc": '#include "kernels/plan/x.h"\n',
        }
        self.assertEqual([], self.findings("gpu_sources", files))
        files["kernels/plan/x.cc"] = '#include "kernels/plan/x.h"\n'
        self.assertEqual([("tools/dev.d/gpu", 1)], self.findings("gpu_sources", files))

    def test_every_forbidden_pair_of_layers_is_caught(self):
        layers = check.read_layers(read("layers.txt"))
        names = [name for name in layers if "*" not in name] + ["services/features"]
        everywhere = {name + "/x.h": HEADER for name in names}
        for user in names:
            for used in names:
                text = f'#include "{used}/x.h"\n'
                allowed = used == user or used in check.allowed_layers(user, layers)
                judge = self.passes if allowed else self.catches
                arguments = () if allowed else (1,)
                with self.subTest(user=user, used=used):
                    judge("layering", user + "/y.cc", text, *arguments, extra=everywhere)

    def test_the_table_is_the_design(self):
        layers = check.read_layers(read("layers.txt"))
        self.assertEqual(check.allowed_layers("common", layers), ["third_party", "common"])
        self.assertNotIn("ipc", check.allowed_layers("kernels", layers))
        self.assertNotIn("kernels", check.allowed_layers("services/ingress", layers))
        self.assertIn("kernels", check.allowed_layers("services/execution", layers))
        self.assertNotIn("services/ingress", check.allowed_layers("services/features", layers))

    def test_a_path_from_the_own_folder_is_caught(self):
        self.catches("layering", "ipc/a.cc", '\n#include "b.h"\n', 2, {"ipc/b.h": HEADER})
        self.catches("layering", "ipc/a.cc", '#include "sub/b.h"\n', 1, {"ipc/sub/b.h": HEADER})

    def test_libraries_pass(self):
        self.passes("layering", "ipc/a.cc", '#include <grpcpp/x.h>\n#include "absl/x.h"\n')
        self.passes("layering", "ipc/a.cc", '#include "simdjson.h"\n')
        self.passes("layering", "ipc/a.proto", 'import "google/protobuf/struct.proto";\n')

    def test_imports_of_protos_and_deps_of_build_files(self):
        other = {"ipc/x.proto": "", "services/features/BUILD": ""}
        self.catches("layering", "common/a.proto", 'import "ipc/x.proto";\n', 1, other)
        self.catches("layering", "ipc/BUILD", 'x(\n deps = [\n "//services/features:f",\n])\n', 3,
                     other)
        self.passes("layering", "services/features/BUILD", 'x(deps = ["//ipc:x", ":y"])\n', other)

    def test_a_folder_outside_the_table_is_caught(self):
        self.catches("layering", "new/a.cc", '#include "ipc/a.h"\n', 1)


class House(RuleTest):

    def test_length(self):
        self.catches("length", "ipc/a.cc", "x\n" * 401, 401)
        self.passes("length", "ipc/a.cc", "x\n" * 400)
        self.passes("length", "ipc/testdata/a.cc", "x\n" * 401)

    def test_length_exceptions_only_shrink(self):
        table = "tools/check/long_files.txt"
        listed = {table: "ipc/a.cc 500\n"}
        self.passes("length", "ipc/a.cc", "x\n" * 500, listed)
        self.catches("length", "ipc/a.cc", "x\n" * 501, 501, listed)
        self.assertEqual([(table, 1)], self.findings("length", {"ipc/a.cc": "x\n" * 450, **listed}))
        self.assertEqual([(table, 1)], self.findings("length", {"ipc/a.cc": "x\n" * 400, **listed}))
        self.assertEqual([(table, 1)], self.findings("length", listed))

    def test_unfinished(self):
        for word in ["TO" "DO", "FIX" "ME", "XX" "X"]:
            self.catches("unfinished", "ipc/a.cc", f"\n// {word}: later\n", 2)
        self.passes("unfinished", "ipc/a.cc", 'mkstemp("/tmp/x-XXXXXX");\n')

    def test_portable(self):
        for folder in ["work", "root", "home"]:
            self.catches("portable", "tools/a.sh", f"cd /{folder}/someone\n", 1)
        self.catches("portable", "tools/a.sh", "pip install --index" + "-url x y\n", 1)
        self.passes("portable", "tools/a.sh", 'cd "$root/work/x" && cat /usr/share/x ./home/y\n')

    def test_sanitizers(self):
        rc, rule = ".bazelrc", "tools/sanitize/sanitized.bzl"
        config = "build:asan --copt=-fa --linkopt=-fl\nbuild:tsan --test_env=T_OPTIONS=x=1\n" \
                 "build:debug --copt=-O0\n"
        table = 'X = ["-fa", "-fl"]\nY = {"tsan": "T_OPTIONS=x=1"}\n\ndef f():\n    g("-fother")\n'
        self.passes("sanitizers", rc, config, {rule: table})
        for flag in ["-fa", "-fl", "T_OPTIONS=x=1"]:
            self.catches("sanitizers", rc, config, 1, {rule: table.replace(f'"{flag}"', '"-fn"')})
            self.assertIn((rule, 1), self.findings(
                "sanitizers", {rc: config, rule: table.replace(f'"{flag}"', '""')}))

    def test_headers(self):
        self.catches("headers", "ipc/a.h", "#pragma once\n// late\n", 1)
        self.catches("headers", "ipc/a.h", "// contract\n", 1)
        self.passes("headers", "ipc/a.h", HEADER)

    def test_third_party(self):
        table = '_X = {\n    "some": struct(\n    ),\n}\n'
        self.catches("third_party", "third_party/libraries.bzl", table, 2)
        self.passes("third_party", "third_party/libraries.bzl", table,
                    {"third_party/some/README.md": ""})


class Tests(RuleTest):
    TEST = 'cc_test(\n    name = "a_test",\n    size = "small",\n)\n\n'

    def judge(self, build, packages):
        root = "TEST_PACKAGES = [%s]\n" % ", ".join(f'"{p}"' for p in packages)
        return self.findings("tests", {"ipc/BUILD": build, "BUILD": root})

    def test_a_complete_package_passes(self):
        self.assertEqual([], self.judge(self.TEST + "test_suites()\n", ["ipc"]))
        self.assertEqual([], self.judge('cc_library(\n    name = "a",\n)\n', []))

    def test_each_omission_is_caught(self):
        unsized = self.TEST.replace('    size = "small",\n', "")
        self.assertEqual([("ipc/BUILD", 1)], self.judge(unsized + "test_suites()\n", ["ipc"]))
        self.assertEqual([("ipc/BUILD", 1)], self.judge(self.TEST, ["ipc"]))
        self.assertEqual([("ipc/BUILD", 1)], self.judge(self.TEST + "test_suites()\n", []))
        self.assertEqual([("BUILD", 1)], self.judge("", ["ipc"]))

    def test_a_test_on_one_line_counts(self):
        unsized = 'cc_test(name = "a_test", srcs = glob(["*.cc"]))\ntest_suites()\n'
        self.assertEqual([("ipc/BUILD", 1)], self.judge(unsized, ["ipc"]))
        sized = 'cc_test(name = "a_test", srcs = glob(["*.cc"]), size = "small")\n'
        self.assertEqual([], self.judge(sized + "test_suites()\n", ["ipc"]))

    def test_generated_tests_count(self):
        generated = '[cc_test(\n    name = n,\n    size = "small",\n) for n in ["a"]]\n'
        self.assertEqual([("ipc/BUILD", 1)], self.judge(generated, []))

    def test_fix_leaves_nothing_to_find(self):
        load = 'load("@rules_cc//cc:defs.bzl", "cc_test")\n'
        files = {
            "BUILD": 'TEST_PACKAGES = [\n    "gone",\n]\n',
            "ipc/BUILD": load + "\n" + self.TEST,
            "common/BUILD": self.TEST,
        }
        with TreeOnDisk(files) as tree:
            self.assertEqual(3, len(list(suites.tests(tree))))
            suites.fix_tests(tree)
            fixed = trees.Tree(tree.root, trees.list_paths(tree.root))
            self.assertEqual([], list(suites.tests(fixed)))
            self.assertTrue(fixed.texts["ipc/BUILD"].startswith(load + 'load("//tools/check'))
            suites.fix_tests(fixed)  # a second time changes nothing
            self.assertEqual(fixed.texts, trees.Tree(tree.root, fixed.texts).texts)


class ToolsOfOthers(RuleTest):
    """Run against stand-ins on PATH, so that the test needs neither tool."""

    def with_tool(self, name, output, rule, files):
        with tempfile.TemporaryDirectory() as folder:
            tool = os.path.join(folder, name)
            with open(tool, "w", encoding="utf-8") as file:
                file.write(f"#!/bin/sh\nprintf '%s\\n' '{output}'\n")
            os.chmod(tool, 0o755)
            path = os.environ.get("PATH", "")
            os.environ["PATH"] = folder + os.pathsep + path
            try:
                return self.findings(rule, files)
            finally:
                os.environ["PATH"] = path

    def test_format(self):
        said = "ipc/a.cc:3:9: warning: code should be clang-formatted [-Wclang-format-violations]"
        self.assertEqual([("ipc/a.cc", 3)],
                         self.with_tool("clang-format", said, "format", {"ipc/a.cc": "int  x;\n"}))

    def test_shell(self):
        said = "tools/a:2:6: note: Double quote to prevent globbing [SC2086]"
        script = "#!/usr/bin/env bash\necho $1\n"
        self.assertEqual([("tools/a", 2)],
                         self.with_tool("shellcheck", said, "shell", {"tools/a": script}))
        self.assertEqual([], self.with_tool("shellcheck", said, "shell", {"ipc/a.cc": "x\n"}))


class Command(unittest.TestCase):

    def test_exit_status_and_output(self):
        for text, status in [("// Contract.\n#pragma once\n", 0), ("int x;\n", 1)]:
            with TreeOnDisk({"ipc/a.h": text}) as tree:
                result = subprocess.run(
                    [sys.executable, "-B", os.path.join(HERE, "check.py"), "--only", "headers"],
                    cwd=tree.root, stdout=subprocess.PIPE, universal_newlines=True, check=False)
            self.assertEqual(status, result.returncode, result.stdout)
            self.assertEqual(status == 1, "ipc/a.h:1: [headers]" in result.stdout)


if __name__ == "__main__":
    unittest.main()
