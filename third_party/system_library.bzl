"""Finds a library that the distribution has installed and gives it Bazel labels.

Each target is described by a list of words:
  pc:NAME    a pkg-config module: its include folders, defines and libraries
  lib:NAME   a library without a module: links -lNAME, which the compiler must find
  h:PATH     a header that the compiler must find
  dir:PATH   a folder beneath /usr/include to search for headers, where no module says so
  :TARGET    another target of the same repository (or @OTHER//:TARGET)
What is missing ends the build with one sentence that says how to install it.
"""

_BUILD_HEAD = """load("@rules_cc//cc:defs.bzl", "cc_library")

package(default_visibility = ["//visibility:public"])
"""

_TARGET = """
cc_library(
    name = "{name}",
    hdrs = glob({include_globs}, allow_empty = True),
    defines = {defines},
    includes = {includes},
    linkopts = {linkopts},
    deps = {deps},
)
"""

# Link only what is used: some modules name eighty libraries, and each costs start-up time.
_AS_NEEDED = ["-Wl,--push-state,--as-needed"]
_POP_STATE = ["-Wl,--pop-state"]

# Macros that modules define for other platforms' sake and that ours do not need.
_IGNORED_DEFINES = ["NOMINMAX"]

def _missing(ctx, what):
    fail("%s not found; install it with: apt-get install %s" % (what, ctx.attr.package))

def _compiler(ctx):
    found = ctx.which(ctx.os.environ.get("CXX", "g++"))
    if not found:
        fail("g++ not found; install it with: apt-get install g++")
    return found

def _pkg_config(ctx, module):
    tool = ctx.which("pkg-config")
    if not tool:
        fail("pkg-config not found; install it with: apt-get install pkg-config")
    result = ctx.execute([tool, "--cflags", "--libs", module])
    if result.return_code != 0:
        _missing(ctx, "pkg-config module " + module)
    return [word for word in result.stdout.strip().replace("\n", " ").split(" ") if word]

def _check_header(ctx, header):
    script = "echo '#include <%s>' | %s -E -x c++ -o /dev/null -" % (header, _compiler(ctx))
    if ctx.execute(["sh", "-c", script]).return_code != 0:
        _missing(ctx, "header " + header)

def _check_library(ctx, library):
    # The compiler prints a full path for a file that it finds, and the bare name for one that it does not.
    for suffix in [".so", ".a"]:
        name = "lib%s%s" % (library, suffix)
        result = ctx.execute([_compiler(ctx), "-print-file-name=" + name])
        if result.stdout.strip() != name:
            return
    _missing(ctx, "library " + library)

def _without_repeats(words):
    """Keeps the last of equal words, the order that a linker of static libraries needs."""
    kept = []
    for word in reversed(words):
        if word not in kept:
            kept.append(word)
    return reversed(kept)

def _resolve(ctx, words):
    """Checks one target's words; returns what its cc_library needs."""
    found = struct(defines = [], includes = [], libraries = [], deps = [])
    for word in words:
        kind, _, rest = word.partition(":")
        if kind == "pc":
            for flag in _pkg_config(ctx, rest):
                if flag.startswith("-I"):
                    found.includes.append(flag[2:])
                elif flag.startswith("-D"):
                    if flag[2:] not in _IGNORED_DEFINES:
                        found.defines.append(flag[2:])
                else:
                    found.libraries.append(flag)
        elif kind == "lib":
            _check_library(ctx, rest)
            found.libraries.append("-l" + rest)
        elif kind == "h":
            _check_header(ctx, rest)
        elif kind == "dir":
            folder = "/usr/include/" + rest
            if not ctx.path(folder).exists:
                _missing(ctx, "folder " + folder)
            found.includes.append(folder)
        elif kind == "" or kind.startswith("@"):
            found.deps.append(word)
        else:
            fail("third_party: '%s' is not pc:, lib:, h:, dir: or a label" % word)
    return found

def _system_library_impl(ctx):
    build = _BUILD_HEAD
    linked = {}
    for name, words in ctx.attr.targets.items():
        found = _resolve(ctx, words)
        includes = []
        for folder in found.includes:
            # Folders outside the compiler's own are linked in, so that the sandbox shows them.
            if folder not in linked:
                linked[folder] = "include%d" % len(linked)
                ctx.symlink(folder, linked[folder])
            includes.append(linked[folder])
        libraries = _without_repeats(found.libraries)
        build += _TARGET.format(
            name = name,
            include_globs = repr([folder + "/**" for folder in includes]),
            defines = repr(found.defines),
            includes = repr(includes),
            linkopts = repr(_AS_NEEDED + libraries + _POP_STATE if libraries else []),
            deps = repr(found.deps),
        )
    for tool in ctx.attr.tools:
        path = ctx.which(tool)
        if not path:
            fail("%s not found; install it with: apt-get install %s" % (tool, ctx.attr.tools[tool]))
        ctx.symlink(path, tool)
        build += "\nexports_files([\"%s\"])\n" % tool
    ctx.file("BUILD", build)

system_library = repository_rule(
    implementation = _system_library_impl,
    attrs = {
        "package": attr.string(mandatory = True, doc = "The Debian package that holds it."),
        "targets": attr.string_list_dict(mandatory = True),
        "tools": attr.string_dict(doc = "Programs to export, each with its Debian package."),
    },
    environ = ["CXX", "PKG_CONFIG_PATH"],
    local = True,
)
