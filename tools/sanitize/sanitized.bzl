"""sanitized_test: an existing test, built again with sanitizers and run so, without any flag.

    sanitized_test(
        name = "arena_sanitized_test",
        size = "small",
        sanitizers = ["asan", "ubsan"],
        tags = ["stress"],
        test = ":arena_test",
    )

The test, what it links and what it has as data are built in a configuration of their own. If the
build has a sanitizer already (--config=tsan), these replace it here: they do not mix.
"""

# The same as the configs of these names in .bazelrc.
_SANITIZER = ["-O1", "-g", "-fno-omit-frame-pointer", "-Wno-maybe-uninitialized"]
_COPTS = {
    "asan": ["-fsanitize=address"],
    "ubsan": ["-fsanitize=undefined", "-fno-sanitize-recover=all"],
    "tsan": ["-fsanitize=thread", "-Wno-tsan"],
}
_LINKOPTS = {
    "asan": ["-fsanitize=address"],
    "ubsan": ["-fsanitize=undefined"],
    "tsan": ["-fsanitize=thread"],
}
_OPTIONS = {
    "asan": "ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1",
    "ubsan": "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1",
    "tsan": "TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1:second_deadlock_stack=1",
}

def _without_sanitizers(options):
    known = {option: True for copts in _COPTS.values() for option in copts}
    return [
        option
        for option in options
        if option not in known and not option.startswith("-fsanitize=")
    ]

def _transition_impl(settings, attr):
    if "tsan" in attr.sanitizers and len(attr.sanitizers) > 1:
        fail("tsan works alone")
    copts = _without_sanitizers(settings["//command_line_option:copt"]) + _SANITIZER
    linkopts = _without_sanitizers(settings["//command_line_option:linkopt"])
    for sanitizer in attr.sanitizers:
        copts += _COPTS[sanitizer]
        linkopts += _LINKOPTS[sanitizer]
    return {
        "//command_line_option:copt": copts,
        "//command_line_option:linkopt": linkopts,
    }

_transition = transition(
    implementation = _transition_impl,
    inputs = ["//command_line_option:copt", "//command_line_option:linkopt"],
    outputs = ["//command_line_option:copt", "//command_line_option:linkopt"],
)

def _sanitized_test_impl(ctx):
    test = ctx.attr.test[0][DefaultInfo]  # a list, since a transition may split
    run = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.expand_template(
        template = ctx.file._template,
        output = run,
        is_executable = True,
        substitutions = {
            "@TEST@": test.files_to_run.executable.short_path,
            "@WORKSPACE@": ctx.workspace_name,
            "@OPTIONS@": " ".join([_OPTIONS[s] for s in ctx.attr.sanitizers]),
            "@SANITIZERS@": " ".join(ctx.attr.sanitizers),
        },
    )
    runfiles = ctx.runfiles(files = [test.files_to_run.executable])
    return [DefaultInfo(executable = run, runfiles = runfiles.merge(test.default_runfiles))]

sanitized_test = rule(
    implementation = _sanitized_test_impl,
    test = True,
    attrs = {
        "sanitizers": attr.string_list(mandatory = True, allow_empty = False),
        "test": attr.label(mandatory = True, executable = True, cfg = _transition),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
        "_template": attr.label(
            default = "//tools/sanitize:run_sanitized.sh",
            allow_single_file = True,
        ),
    },
)
