#!/usr/bin/env python3
"""The rule memory_order catches each planted violation, and lets the right thing pass."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
from check_test import RuleTest  # noqa: E402 (after the path)

WRITER = """void Writer::Put() {
  // %s
  word_.store(1, std::memory_order_%s);
}
"""
READER = """int Reader::Get() {
  // acquire: meets the release in Writer::Put.
  return word_.load(std::memory_order_acquire);
}
int Reader::Hint() {
  // relaxed: only a hint to Get.
  return word_.load(std::memory_order_relaxed);
}
"""
FENCES = """void Sleeper::Arm() {
  // fence F1: meets %s.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
void Sleeper::Wake() {
  // fence F2: meets %s.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
"""


class MemoryOrder(RuleTest):

    def writer(self, comment, order="release", line=3):
        """One finding in the writer's line, none where `line` is None; the reader is right."""
        others = {"ipc/reader.cc": READER}
        if order != "release":  # the reader still meets something
            others["ipc/other.cc"] = WRITER % ("release: meets the acquire in Reader::Get", "release")
        found = self.findings("memory_order", {"ipc/writer.cc": WRITER % (comment, order), **others})
        self.assertEqual([] if line is None else [("ipc/writer.cc", line)], found)

    def test_a_partner_that_is_there_passes(self):
        self.writer("release: meets the acquire in Reader::Get.", line=None)
        self.writer("release: meets the acquire in Reader::Get; and more", line=None)
        self.writer("release: meets the acquire in millrace::Reader::Get", line=None)
        self.writer("release: meets Get in ipc/reader.cc.", line=None)
        self.writer("release: meets the acquire of Get in ipc/reader.cc.", line=None)
        self.writer("release: meets the acquire in ipc/reader.cc.", line=None)
        self.writer("A word. release: meets\n  // the acquire in Reader::Get", line=None)

    def test_a_missing_order_is_caught(self):
        self.writer("meets the acquire in Reader::Get")
        self.writer("what is published here")
        self.writer("the release meets the acquire in Reader::Get")
        self.catches("memory_order", "ipc/a.h", "x.store(1, std::memory_order_release);\n", 1)
        self.catches("memory_order", "ipc/a.h", "x.store(1, std::memory_order::release);\n", 1)

    def test_another_order_is_caught(self):
        self.writer("acquire: meets the acquire in Reader::Get")
        self.writer("relaxed: nobody depends on it")
        self.writer("seq_cst: meets the acquire in Reader::Get")
        self.writer("release: meets the acquire in Reader::Get", order="relaxed")
        self.writer("release fence: meets the acquire in Reader::Get")

    def test_a_partner_that_is_not_there_is_caught(self):
        for name in ["in Reader::Gone", "in Gone::Get", "in ipc/gone.cc", "of Gone in ipc/reader.cc",
                     "in Gone", "there", "in the other process's signal handler"]:
            with self.subTest(name=name):
                self.writer(f"release: meets the acquire {name}.")
        self.writer("release: publishes the word")
        self.writer("release: meets the acquire in Reader::Get and Reader::Gone")

    def test_a_partner_without_an_opposite_site_is_caught(self):
        self.writer("release: meets the acquire in Reader::Hint.")
        self.writer("release: meets Hint in ipc/reader.cc.")
        self.writer("release: meets the acquire of Hint in ipc/reader.cc.")
        self.writer("release: meets the acquire in Writer::Put.")
        self.writer("release: meets the acquire in Put.")
        self.writer("release: meets the acquire in ipc/writer.cc.")

    def test_a_partner_in_a_class_body_or_a_template(self):
        inline = "class Peer {\n  void Look() {\n    // acquire: meets the release in Writer::Put.\n" \
                 "    x.load(std::memory_order_acquire);\n  }\n  void Not() { Look(); }\n};\n"
        template = inline.replace("class Peer", "template <typename A>\nclass Peer")
        outside = "template <typename A>\nvoid Peer<A>::Look() {\n  // acquire: meets the release in " \
                  "Writer::Put.\n  x.load(std::memory_order_acquire);\n}\n"
        for text in [inline, template, outside]:
            for name, expected in [("Look", []), ("Not", [("ipc/writer.cc", 3)])]:
                writer = WRITER % (f"release: meets the acquire in Peer::{name}.", "release")
                if name == "Not" and text is outside:
                    continue
                with self.subTest(text=text, name=name):
                    self.assertEqual(expected, self.findings(
                        "memory_order", {"ipc/writer.cc": writer, "ipc/peer.h": text}))

    def test_the_comment_stands_near(self):
        site = "x.load(std::memory_order_relaxed);\n"
        self.passes("memory_order", "ipc/a.h", "// relaxed: one thread uses it\n\n\n" + site)
        self.catches("memory_order", "ipc/a.h", "// relaxed: one thread uses it\n\n\n\n" + site, 5)
        self.passes("memory_order", "ipc/a.h", site.replace("\n", "  // relaxed: one thread uses it\n"))
        self.catches("memory_order", "ipc/a.h", site + "// relaxed: one thread uses it\n", 1)
        self.passes("memory_order", "ipc/a.h", '// memory_order_release is explained\nf("memory_order_release");\n')

    def test_the_nearest_comment_counts(self):
        text = "void Self::Turn() {\n  // relaxed: ordered by the next store.\n" \
               "  x.store(1, std::memory_order_relaxed);\n" \
               "  // acq_rel: meets itself in Self::Turn on other threads.\n" \
               "  y.exchange(1, std::memory_order_%s);\n}\n"
        self.passes("memory_order", "ipc/a.h", text % "acq_rel")
        self.catches("memory_order", "ipc/a.h", text % "relaxed", 5)
        line = "x.store(1, std::memory_order_relaxed);  // relaxed: one thread uses it\n"
        self.passes("memory_order", "ipc/a.h", line + line)
        self.catches("memory_order", "ipc/a.h", line + line.replace("// relaxed", "// release"), 2)

    def test_a_lone_relaxed_is_caught(self):
        for comment in ["relaxed", "relaxed:", "relaxed.", "relaxed: fine", "relaxed: see Reader::Get",
                        "relaxed: as in the destructor"]:
            with self.subTest(comment=comment):
                self.writer(comment, order="relaxed")
        self.writer("relaxed: a hint, read alone.", order="relaxed", line=None)

    def test_each_order_of_a_line_is_named(self):
        cas = "x.compare_exchange_strong(a, b, std::memory_order_acq_rel, std::memory_order_relaxed);\n"
        met = "void Self::Turn() {\n  // acq_rel: meets itself in Self::Turn on other threads.\n%s  " + cas + "}\n"
        self.catches("memory_order", "ipc/a.h", met % "", 3)
        self.passes("memory_order", "ipc/a.h", met % "  // relaxed: the value is not used\n")

    def test_fences_come_in_pairs(self):
        files = lambda f1, f2: {"ipc/f.cc": FENCES % (f1, f2)}
        found = lambda f1, f2: self.findings("memory_order", files(f1, f2))
        self.assertEqual([], found("F2 in Sleeper::Wake", "F1 in Sleeper::Arm"))
        self.assertEqual([], found("F2", "F1"))
        self.assertEqual([("ipc/f.cc", 3), ("ipc/f.cc", 7)], found("F3", "F1"))
        self.assertEqual([("ipc/f.cc", 7)], found("F2 in Sleeper::Wake", "F1 in Sleeper::Gone"))
        one_way = found("F2", "the release in Sleeper::Arm")
        self.assertEqual([("ipc/f.cc", 3)], one_way)
        lone = (FENCES % ("F2", "F1")).partition("void Sleeper::Wake")[0]
        self.catches("memory_order", "ipc/f.cc", lone, 3)
        self.catches("memory_order", "ipc/f.cc", lone.replace("fence F1", "fence F2"), 3)
        self.catches("memory_order", "ipc/f.cc", "// why\nstd::atomic_signal_fence(std::memory_order_seq_cst);\n", 2)

    def test_a_models_fence_is_a_fence(self):
        model = (FENCES % ("F2", "F1")).replace(
            "std::atomic_thread_fence(std::memory_order_seq_cst)", "M::Fence()")
        self.assertEqual([], self.findings("memory_order", {"ipc/f.h": "// c\n#pragma once\n" + model}))
        self.catches("memory_order", "ipc/f.cc", model.replace("fence F2", "no fence"), 3)
        self.catches("memory_order", "ipc/f.cc", "void Arm() {\n  M::Fence();\n}\n", 2)

    def test_a_label_is_for_seq_cst_fences_only(self):
        for order in ["acquire", "release"]:
            weak = (FENCES % ("F2", "F1")).replace("seq_cst", order, 1)
            self.catches("memory_order", "ipc/f.cc", weak, 3)
        text = (FENCES % ("F2", "F1")).replace("atomic_thread_fence(", "x.load(")
        self.catches("memory_order", "ipc/f.cc", text, 3)

    def test_as_above_stays_in_the_function(self):
        again = READER.replace("}\nint Reader::Hint() {\n  // relaxed: only a hint to Get.",
                               "%s  // acquire: as above.").replace(
                                   "relaxed", "acquire")
        writer = {"ipc/writer.cc": WRITER % ("release: meets the acquire in Reader::Get", "release")}
        self.passes("memory_order", "ipc/reader.cc", again % "", writer)
        self.catches("memory_order", "ipc/reader.cc", again % "}\nint Reader::Hint() {\n", 7, writer)
        self.catches("memory_order", "ipc/reader.cc", again % ("\n" * 13), 18, writer)
        other = (again % "").replace("acquire: as above", "relaxed: as above").replace(
            "acquire);\n}", "relaxed);\n}")
        self.catches("memory_order", "ipc/reader.cc", other, 5, writer)
        below = (again % "").replace("as above", "as below")
        self.catches("memory_order", "ipc/reader.cc", below, 5, writer)

    def test_a_call_without_an_order_is_seq_cst(self):
        for call in ["x.load()", "x->store(1)", "x.fetch_add(1)", "x.exchange(f(1, 2))"]:
            with self.subTest(call=call):
                self.catches("memory_order", "ipc/a.cc", call + ";\n", 1)
                for exempt in ["ipc/a_test.cc", "ipc/testing/a.cc", "tools/load/a.cc"]:
                    self.passes("memory_order", exempt, call + ";\n")
        said = "void Self::Turn() {\n  // seq_cst: meets itself in Self::Turn on other threads.\n  x.load();\n}\n"
        self.passes("memory_order", "ipc/a.cc", said)
        self.passes("memory_order", "ipc/a.cc", "config.load(path);\nshop.store();\nx.load(order);\n")


if __name__ == "__main__":
    unittest.main()
