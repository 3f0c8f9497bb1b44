"""C++ targets that need the CUDA toolkit. Without it each of these declares nothing at all.

cuda_library compiles .cu and .cc files with nvcc and is used like a cc_library. cuda_cc_library,
cuda_cc_binary and cuda_cc_test are the native rules under the same condition, for what depends on
one. A test that needs a device at run time is tagged "gpu"; one that only links is not.
"""

load("@cuda//:defs.bzl", "CUDA_HOME", "HAS_CUDA")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")
load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

# Ampere (8.6 and 8.9 run it, too), Hopper, Blackwell for servers and for desks. What is between or
# newer compiles PTX when it loads. tools/dev gpu has the same list.
_GENCODE = [
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90,code=[sm_90,compute_90]",
    "-gencode=arch=compute_100,code=sm_100",
    "-gencode=arch=compute_120,code=[sm_120,compute_120]",
]

_NVCC_FLAGS = [
    "-std=c++20",
    "-O3",
    "--fmad=false",  # numbers are part of the contract: a fused multiply-add is written, never chosen
    "-Werror=all-warnings",
    "-Xcompiler=-fPIC,-Wall,-Werror,-ffp-contract=off,-march=x86-64-v2",
]

def _compile(ctx, src, headers, contexts):
    output = ctx.actions.declare_file("_objs/%s/%s.o" % (ctx.label.name, src.basename))
    arguments = ctx.actions.args()
    arguments.add_all(["-ccbin", "g++"])
    arguments.add_all(_NVCC_FLAGS + _GENCODE + ctx.attr.nvccopts)
    arguments.add_all([".", ctx.bin_dir.path], before_each = "-I")
    for context in contexts:
        arguments.add_all(context.quote_includes, before_each = "-I")
        arguments.add_all(context.includes, before_each = "-I")
        arguments.add_all(context.system_includes, before_each = "-isystem")
        arguments.add_all(context.defines, before_each = "-D")
    arguments.add_all(["-x", "cu", "-c", src, "-o", output])
    ctx.actions.run(
        executable = CUDA_HOME + "/bin/nvcc",
        arguments = [arguments],
        inputs = depset([src], transitive = [headers]),
        outputs = [output],
        mnemonic = "Nvcc",
        progress_message = "Compiling %s with nvcc" % src.short_path,
        use_default_shell_env = True,
    )
    return output

def _archive(ctx, toolchain, objects):
    output = ctx.actions.declare_file("lib%s.a" % ctx.label.name)
    arguments = ctx.actions.args()
    arguments.add_all(["rcsD", output])
    arguments.add_all(objects)
    ctx.actions.run(
        executable = toolchain.ar_executable,
        arguments = [arguments],
        inputs = depset(objects, transitive = [toolchain.all_files]),
        outputs = [output],
        mnemonic = "NvccArchive",
    )
    return output

def _cuda_objects_impl(ctx):
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    infos = [dep[CcInfo] for dep in ctx.attr.deps]
    contexts = [info.compilation_context for info in infos]
    headers = depset(ctx.files.hdrs, transitive = [context.headers for context in contexts])
    objects = [_compile(ctx, src, headers, contexts) for src in ctx.files.srcs]
    archive = _archive(ctx, toolchain, objects)

    library = cc_common.create_library_to_link(
        actions = ctx.actions,
        cc_toolchain = toolchain,
        feature_configuration = features,
        pic_static_library = archive,
        static_library = archive,
    )
    linking = cc_common.create_linking_context(
        linker_inputs = depset([cc_common.create_linker_input(
            libraries = depset([library]),
            owner = ctx.label,
        )]),
    )
    own = CcInfo(
        compilation_context = cc_common.create_compilation_context(headers = depset(ctx.files.hdrs)),
        linking_context = linking,
    )
    return [
        DefaultInfo(files = depset([archive])),
        cc_common.merge_cc_infos(direct_cc_infos = [own], cc_infos = infos),
    ]

_cuda_objects = rule(
    implementation = _cuda_objects_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".cu", ".cc"], mandatory = True, allow_empty = False),
        "hdrs": attr.label_list(allow_files = [".h", ".cuh"]),
        "deps": attr.label_list(providers = [CcInfo]),
        "nvccopts": attr.string_list(),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)

def cuda_library(name, srcs, hdrs = [], deps = [], **kwargs):
    """A C++ library from .cu and .cc files, all compiled as CUDA; what they include is in hdrs or deps."""
    if HAS_CUDA:
        _cuda_objects(
            name = name,
            srcs = srcs,
            hdrs = hdrs,
            deps = deps + ["@cuda//:cudart"],
            **kwargs
        )

def cuda_cc_library(name, **kwargs):
    """A cc_library that depends on CUDA."""
    if HAS_CUDA:
        cc_library(name = name, **kwargs)

def cuda_cc_binary(name, **kwargs):
    """A cc_binary (a plug-in with linkshared, say) that depends on CUDA."""
    if HAS_CUDA:
        cc_binary(name = name, **kwargs)

def cuda_cc_test(name, **kwargs):
    """A cc_test that depends on CUDA."""
    if HAS_CUDA:
        cc_test(name = name, **kwargs)
