"""cc_proto and cc_grpc: C++ libraries from .proto files.

Imports are written from the repository's root ("common/api/x.proto") or are well-known types
("google/protobuf/struct.proto"). Generated headers are included in the same way
("common/api/x.pb.h", "common/api/x.grpc.pb.h"). A .proto file belongs to one rule only: cc_grpc
generates its messages too. `deps` name other cc_proto or cc_grpc labels.
"""

load("@rules_cc//cc:defs.bzl", "cc_library")

ProtoFilesInfo = provider(fields = {"files": "depset of .proto files, transitive"})

def _proto_gen_impl(ctx):
    files = depset(
        ctx.files.srcs,
        transitive = [dep[ProtoFilesInfo].files for dep in ctx.attr.deps],
    )
    suffixes = [".pb.cc", ".pb.h"]
    arguments = ctx.actions.args()
    arguments.add("-I.")
    arguments.add("--cpp_out=" + ctx.bin_dir.path)
    if ctx.attr.grpc:
        suffixes += [".grpc.pb.cc", ".grpc.pb.h"]
        arguments.add("--grpc_out=" + ctx.bin_dir.path)
        arguments.add("--plugin=protoc-gen-grpc=" + ctx.executable._grpc_plugin.path)
    arguments.add_all(ctx.files.srcs)

    outputs = []
    for src in ctx.files.srcs:
        if not src.is_source or src.owner.workspace_name:
            fail("%s: a .proto file must be a source file of this repository" % src.path)
        stem = src.path[len(ctx.label.package) + 1:] if ctx.label.package else src.path
        stem = stem[:-len(".proto")]
        outputs += [ctx.actions.declare_file(stem + suffix) for suffix in suffixes]

    ctx.actions.run(
        executable = ctx.executable._protoc,
        arguments = [arguments],
        inputs = files,
        tools = [ctx.executable._grpc_plugin] if ctx.attr.grpc else [],
        outputs = outputs,
        mnemonic = "Protoc",
        progress_message = "Generating C++ for %s" % ctx.label,
    )
    return [
        DefaultInfo(files = depset(outputs)),
        OutputGroupInfo(
            headers = depset([f for f in outputs if f.extension == "h"]),
            sources = depset([f for f in outputs if f.extension == "cc"]),
        ),
        ProtoFilesInfo(files = files),
    ]

_proto_gen = rule(
    implementation = _proto_gen_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".proto"], mandatory = True, allow_empty = False),
        "deps": attr.label_list(providers = [ProtoFilesInfo]),
        "grpc": attr.bool(),
        "_protoc": attr.label(
            default = "@protobuf//:protoc",
            executable = True,
            allow_single_file = True,
            cfg = "host",
        ),
        "_grpc_plugin": attr.label(
            default = "@grpc//:grpc_cpp_plugin",
            executable = True,
            allow_single_file = True,
            cfg = "host",
        ),
    },
)

def _gen_label(dep):
    """The generating rule that stands behind a cc_proto or cc_grpc label."""
    if ":" not in dep:
        dep += ":" + dep.split("/")[-1]
    return dep + "_gen"

def _library(name, srcs, deps, grpc, runtime, visibility, **kwargs):
    gen = name + "_gen"
    _proto_gen(
        name = gen,
        srcs = srcs,
        grpc = grpc,
        visibility = visibility,
        deps = [_gen_label(dep) for dep in deps],
    )
    for group in ["headers", "sources"]:
        native.filegroup(
            name = "%s_%s" % (gen, group),
            srcs = [gen],
            output_group = group,
            visibility = ["//visibility:private"],
        )
    cc_library(
        name = name,
        srcs = [gen + "_sources"],
        hdrs = [gen + "_headers"],
        copts = ["-w"],  # generated code is not ours to warn about
        visibility = visibility,
        deps = deps + runtime,
        **kwargs
    )

def cc_proto(name, srcs, deps = [], visibility = None, **kwargs):
    """A C++ library of the messages in srcs."""
    _library(name, srcs, deps, False, ["@protobuf//:protobuf"], visibility, **kwargs)

def cc_grpc(name, srcs, deps = [], visibility = None, **kwargs):
    """A C++ library of the messages and services in srcs."""
    _library(name, srcs, deps, True, ["@grpc//:grpc++"], visibility, **kwargs)
