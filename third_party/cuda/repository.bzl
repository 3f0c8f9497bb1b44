"""Finds the CUDA toolkit: $CUDA_HOME, then /usr/local/cuda, then the nvcc on PATH.

Gives @cuda//:defs.bzl (HAS_CUDA, CUDA_HOME), and where there is a toolkit @cuda//:cudart (headers
and the static run-time). Never fails: without nvcc HAS_CUDA is False and the targets that need it
are left out. MILLRACE_CUDA=off does the same on a machine that has it.
"""

_BUILD = """load("@rules_cc//cc:defs.bzl", "cc_import", "cc_library")

package(default_visibility = ["//visibility:public"])

cc_import(
    name = "cudart_static",
    static_library = "lib64/libcudart_static.a",
)

cc_library(
    name = "cudart",
    # The C++ template libraries below include/ are thousands of files; only nvcc needs them.
    hdrs = glob([
        "include/*.h",
        "include/*.hpp",
        "include/crt/**",
    ]),
    includes = ["include"],
    linkopts = [
        "-ldl",
        "-lpthread",
        "-lrt",
    ],
    deps = [":cudart_static"],
)
"""

def _find_home(ctx):
    environment = ctx.os.environ
    if environment.get("MILLRACE_CUDA") == "off":
        return None
    homes = [environment.get("CUDA_HOME"), "/usr/local/cuda"]
    on_path = ctx.which("nvcc")
    if on_path:
        homes.append(str(on_path.realpath.dirname.dirname))
    for home in homes:
        if home and ctx.path(home + "/bin/nvcc").exists:
            return home
    return None

def _cuda_repository_impl(ctx):
    home = _find_home(ctx)
    ctx.file("defs.bzl", "HAS_CUDA = %s\nCUDA_HOME = %s\n" % (home != None, repr(home or "")))
    ctx.file("BUILD", _BUILD if home else "")
    if home:
        for folder in ["include", "lib64"]:
            ctx.symlink(home + "/" + folder, folder)

cuda_repository = repository_rule(
    implementation = _cuda_repository_impl,
    environ = ["CUDA_HOME", "MILLRACE_CUDA", "PATH"],
    local = True,
)
