"""Every library that Millrace takes from the distribution, in one table.

The folder third_party/<name>/ says in its README which version, which licence, and why.
"""

load("//third_party:system_library.bzl", "system_library")

# Repository name to the Debian package, the targets (words as in system_library.bzl) and tools.
_LIBRARIES = {
    "absl": struct(
        package = "libabsl-dev",
        targets = {
            "absl": [
                "pc:absl_" + module
                for module in [
                    "any_invocable",
                    "bits",
                    "cleanup",
                    "cord",
                    "failure_signal_handler",
                    "fixed_array",
                    "flat_hash_map",
                    "flat_hash_set",
                    "function_ref",
                    "hash",
                    "inlined_vector",
                    "int128",
                    "node_hash_map",
                    "random_random",
                    "span",
                    "stacktrace",
                    "status",
                    "statusor",
                    "str_format",
                    "strings",
                    "symbolize",
                    "synchronization",
                    "time",
                ]
            ],
        },
        tools = {},
    ),
    "benchmark": struct(
        package = "libbenchmark-dev",
        targets = {"benchmark": ["pc:benchmark"]},
        tools = {},
    ),
    "boost": struct(
        package = "libboost1.81-dev",
        targets = {
            "boost": [
                "h:boost/interprocess/mapped_region.hpp",
                "h:boost/interprocess/ipc/message_queue.hpp",
                "h:boost/asio.hpp",
                "h:boost/beast.hpp",
            ],
        },
        tools = {},
    ),
    "cli11": struct(
        package = "libcli11-dev",
        targets = {"cli11": ["pc:CLI11"]},
        tools = {},
    ),
    "googletest": struct(
        package = "libgmock-dev libgtest-dev",
        targets = {
            "gtest": ["pc:gmock", "pc:gtest"],
            "gtest_main": ["pc:gmock_main", ":gtest"],
        },
        tools = {},
    ),
    "gperftools": struct(
        package = "libgoogle-perftools-dev",
        targets = {
            # Headers alone: the library is another allocator, and comes with a process that is
            # started with it.
            "malloc_extension": ["h:gperftools/malloc_extension.h"],
            "profiler": [
                "lib:profiler",
                "h:gperftools/profiler.h",
            ],
        },
        tools = {},
    ),
    "grpc": struct(
        package = "libgrpc++-dev",
        targets = {
            "grpc++": ["pc:grpc++", "@absl//:absl", "@protobuf//:protobuf"],
            "grpc++_reflection": ["lib:grpc++_reflection", ":grpc++"],
        },
        tools = {"grpc_cpp_plugin": "protobuf-compiler-grpc"},
    ),
    "iceoryx": struct(
        package = "libiceoryx-posh-dev",
        targets = {
            "posh": [
                "dir:iceoryx/v2.0.3",
                "lib:iceoryx_posh",
                "lib:iceoryx_hoofs",
                "lib:iceoryx_platform",
            ],
        },
        tools = {"iox-roudi": "iceoryx"},
    ),
    "nlohmann_json": struct(
        package = "nlohmann-json3-dev",
        targets = {"json": ["pc:nlohmann_json"]},
        tools = {},
    ),
    "openssl": struct(
        package = "libssl-dev",
        targets = {"openssl": ["pc:openssl"]},
        tools = {},
    ),
    "prometheus_cpp": struct(
        package = "prometheus-cpp-dev",
        targets = {"prometheus": ["pc:prometheus-cpp-core"]},
        tools = {},
    ),
    "protobuf": struct(
        package = "libprotobuf-dev",
        targets = {"protobuf": ["pc:protobuf"]},
        tools = {"protoc": "protobuf-compiler"},
    ),
    "relacy": struct(
        package = "relacy-dev",
        targets = {"relacy": ["h:relacy/relacy.hpp"]},
        tools = {},
    ),
    "seccomp": struct(
        package = "libseccomp-dev",
        targets = {"seccomp": ["pc:libseccomp"]},
        tools = {},
    ),
    "simdjson": struct(
        package = "libsimdjson-dev",
        targets = {"simdjson": ["pc:simdjson"]},
        tools = {},
    ),
    "sodium": struct(
        package = "libsodium-dev",
        targets = {"sodium": ["pc:libsodium"]},
        tools = {},
    ),
    "xgboost_c": struct(
        package = "libxgboost-dev",
        targets = {"xgboost": ["pc:xgboost", "h:xgboost/c_api.h"]},
        tools = {},
    ),
    "yaml_cpp": struct(
        package = "libyaml-cpp-dev",
        targets = {"yaml_cpp": ["pc:yaml-cpp"]},
        tools = {},
    ),
    "zlib": struct(
        package = "zlib1g-dev",
        targets = {"zlib": ["pc:zlib"]},
        tools = {},
    ),
}

def system_libraries():
    """Declares one repository for each library; each is looked for when a build first needs it."""
    for name, library in _LIBRARIES.items():
        system_library(
            name = name,
            package = library.package,
            targets = library.targets,
            tools = library.tools,
        )
