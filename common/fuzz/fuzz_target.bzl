"""fuzz_target: one function fed with hostile bytes, by a fuzzer and by a test.

    fuzz_target(
        name = "json_fuzz",
        srcs = ["json_fuzz.cc"],       # defines LLVMFuzzerTestOneInput
        corpus = glob(["corpus/*.json"]),
        deps = [":parsers"],
    )

NAME_corpus_test replays the corpus in every test run, by any compiler. NAME itself needs clang's
libFuzzer: `tools/dev fuzz` builds and runs it.
"""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

def fuzz_target(name, srcs, corpus, deps, size = "small", tags = []):
    cc_library(
        name = name + "_function",
        testonly = True,
        srcs = srcs,
        alwayslink = True,
        deps = deps,
    )
    cc_test(
        name = name + "_corpus_test",
        size = size,
        args = ["$(locations %s)" % file for file in corpus],
        data = corpus,
        tags = tags,
        deps = [
            ":" + name + "_function",
            "//common/fuzz:replay",
        ],
    )
    cc_binary(
        name = name,
        testonly = True,
        linkopts = ["-fsanitize=fuzzer"],
        tags = [
            "fuzz",
            "manual",
        ],
        deps = [":" + name + "_function"],
    )
