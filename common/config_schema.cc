#include "common/config_schema.h"

#include <algorithm>
#include <utility>

namespace millrace {
namespace {

constexpr int64_t kMaxMillis = 3'600'000;  // an hour
constexpr int64_t kMaxMegabytes = 1 << 20;

constexpr ConfigField Text(std::string_view section, std::string_view name,
                           std::string Config::*member, TextRule rule, std::string_view sentence) {
  return {section, name, member, 0, 0, rule, sentence};
}

constexpr ConfigField Choice(std::string_view section, std::string_view name,
                             std::string Config::*member,
                             absl::Span<const std::string_view> choices,
                             std::string_view sentence) {
  return {section, name, member, 0, 0, TextRule::kChoice, sentence, choices};
}

constexpr ConfigField Integer(std::string_view section, std::string_view name,
                              int64_t Config::*member, int64_t min, int64_t max,
                              std::string_view sentence) {
  return {section, name, member, min, max, TextRule::kNone, sentence};
}

constexpr std::string_view kCpusSentence =
    "CPUs of these processes. With at least as many as there are workers each worker has some for "
    "itself, else all share the list. A CPU that the machine lacks or does not allow ends the "
    "start.";

constexpr int64_t kMaxFifoPriority = 49;  // below the kernel's own threads
constexpr int64_t kMaxNode = 1023;

constexpr std::string_view kUserSentence =
    "User that these processes run as; only a server that root starts can have one. With one for "
    "each stage, and the registry's, a stage that is taken over cannot reach the others.";
constexpr std::string_view kFifoSentence =
    "Priority under SCHED_FIFO, for a machine whose other programs must wait; the stage should "
    "have CPUs of its own. 0: the usual scheduler. Not allowed here: ends the start.";
constexpr std::string_view kNodeSentence =
    "NUMA node that these processes take memory from while it has some (`cpus` names its CPUs). "
    "-1: any. A node that the machine lacks ends the start.";
constexpr std::string_view kHeapProfileSentence =
    "`true`: `millrace profile --heap` shows which functions hold the memory of these processes. "
    "They get another allocator for it (tcmalloc), which samples.";
constexpr std::string_view kLimitSentence =
    "Memory of all these processes together, by a control group (cgroup v2) below the server's; "
    "past it the kernel ends one of them. 0: no limit. Without such a group to divide the start "
    "ends.";

constexpr std::string_view kMaxWorkersSentence =
    "With more than 0 the stage is scaled by its queue delay: up to so many processes, and not "
    "beyond the CPUs (`supervisor.scale_beyond_cpus`). `millrace scale` by hand pins it, "
    "`millrace scale STAGE auto` lets it go. 0: by hand only.";
constexpr std::string_view kMinWorkersSentence = "Processes that this policy leaves at least.";
constexpr std::string_view kQueueDelaySentence =
    "Time a request may wait at the stage, on average. Above it for "
    "`supervisor.scale_up_after_ms` adds a process; below a quarter of it, with one process to "
    "spare, for `supervisor.scale_down_after_ms` takes one away.";

constexpr ConfigField kSchema[] = {
    Text("", "repository", &Config::repository, TextRule::kPath,
         "Folder of the models, laid out as `<model>/<version>/<file>` with `config.pbtxt`."),

    Text("ingress", "grpc_listen", &Config::grpc_listen, TextRule::kListen,
         "Address of the gRPC server."),
    Text("ingress", "http_listen", &Config::http_listen, TextRule::kListen,
         "Address of the HTTP server."),
    Text("ingress", "local_listen", &Config::local_listen, TextRule::kUnixListen,
         "Socket of clients on this machine that share memory with the server (`ipc/client`). Its "
         "mode is 0600."),
    Text(
        "ingress", "local_uids", &Config::local_uids, TextRule::kUids,
        "Users that may use it, beside root and the server's own; they need access to the socket's "
        "file, too."),
    Integer("ingress", "local_clients", &Config::local_clients, 1, 1024,
            "Local clients connected at a time to one ingress process."),
    Integer("ingress", "local_in_flight", &Config::local_in_flight, 1, 256,
            "Requests that one local client holds, until it has released their answers."),
    Integer("ingress", "local_memory_mb", &Config::local_memory_mb, 8, kMaxMegabytes,
            "Shared memory of all local clients of one ingress process: their regions and the "
            "server's for them."),
    Integer("ingress", "workers", &Config::ingress_workers, 1, 4,
            "Processes that take requests; at most `max_workers`."),
    Integer("ingress", "max_workers", &Config::ingress_max_workers, 1, 4,
            "Processes that `millrace scale ingress` may ask for. The memory of each worker of the "
            "other stages grows with it; times `max_request_bytes` it is at most 128 MiB."),
    Text("ingress", "cpus", &Config::ingress_cpus, TextRule::kCpus, kCpusSentence),
    Text("ingress", "user", &Config::ingress_user, TextRule::kUser, kUserSentence),
    Integer("ingress", "fifo_priority", &Config::ingress_fifo_priority, 0, kMaxFifoPriority,
            kFifoSentence),
    Integer("ingress", "numa_node", &Config::ingress_numa_node, -1, kMaxNode, kNodeSentence),
    Integer("ingress", "memory_limit_mb", &Config::ingress_memory_limit_mb, 0, kMaxMegabytes,
            kLimitSentence),
    Choice("ingress", "heap_profile", &Config::ingress_heap_profile, kSwitchChoices,
           kHeapProfileSentence),
    Integer("ingress", "default_deadline_ms", &Config::default_deadline_ms, 1, kMaxMillis,
            "Time a request has when its client names none. At most `max_deadline_ms`, and more "
            "than `supervisor.hang_ms`, so that a hung worker can be replaced within it."),
    Integer("ingress", "max_deadline_ms", &Config::max_deadline_ms, 1, kMaxMillis,
            "Longest time a client may ask for; a longer one is cut to this."),
    Integer("ingress", "max_request_bytes", &Config::max_request_bytes, 1 << 10, 64 << 20,
            "Bytes of the tensors of one request, and of one answer."),
    Integer("ingress", "max_in_flight", &Config::max_in_flight, 1, 1 << 12,
            "Requests that one ingress lane holds at a time; more are refused as UNAVAILABLE."),
    Integer("ingress", "max_connections", &Config::max_connections, 1, 1 << 16,
            "Connections of gRPC, and as many of HTTP, to one ingress process at a time. One more "
            "is refused: gRPC is told to come back later, HTTP gets 503. Fewer where the process "
            "may not have so many descriptors (two protocols share what is above 256)."),
    Integer("ingress", "probe_period_ms", &Config::probe_period_ms, 0, kMaxMillis,
            "A model without a right answer for so long is not ready, and with it the server. Two "
            "golden requests for each model are sent in that time. 0: none are sent, and readiness "
            "is that of the processes."),
    Integer(
        "ingress", "grpc_max_connection_age_ms", &Config::grpc_max_connection_age_ms, 0,
        24 * kMaxMillis,
        "Age, give or take a tenth, at which a gRPC connection is told to go, so that its client "
        "connects again, perhaps to another ingress process. What it has begun goes on to its end, "
        "streams too. 0: never."),

    Text("ingress", "keys_file", &Config::keys_file, TextRule::kOptionalPath,
         "YAML file of API keys, made with `millrace key new` "
         "(`services/ingress/access/README.md`). "
         "It is read again when it changes. Empty: no keys are asked for, and only this machine is "
         "served."),
    Choice("ingress", "allow_anonymous", &Config::allow_anonymous, kSwitchChoices,
           "Whether, without a key file, other machines are served too. Changes of what is served "
           "are refused there all the same."),

    Choice(
        "ingress", "allow_client_shm", &Config::allow_client_shm, kSwitchChoices,
        "Whether clients may register their shared memory (`/dev/shm`) and have tensors read from "
        "it and written to it. The regions are those of one process, so `workers` must be 1."),
    Text("ingress", "client_shm_prefix", &Config::client_shm_prefix, TextRule::kPrefixes,
         "Names of shared memory that clients may register: those that begin so. Any name must "
         "also be one that the server's user may read and write by its mode."),

    Text("ingress", "tls_certificate", &Config::tls_certificate, TextRule::kOptionalPath,
         "PEM file of the certificate, and those above it, with which gRPC and HTTP speak TLS (1.2 "
         "and up). Empty: they are plain. A changed file is taken without a restart."),
    Text("ingress", "tls_key", &Config::tls_key, TextRule::kOptionalPath,
         "PEM file of its key, without a passphrase."),
    Text("ingress", "tls_client_ca", &Config::tls_client_ca, TextRule::kOptionalPath,
         "PEM file of authorities. Where set, each client must show a certificate of one of them."),

    Integer("features", "workers", &Config::features_workers, 1, 8,
            "Processes that turn named columns into tensors."),
    Integer("features", "max_workers", &Config::features_max_workers, 0, 8, kMaxWorkersSentence),
    Integer("features", "min_workers", &Config::features_min_workers, 1, 8, kMinWorkersSentence),
    Integer("features", "target_queue_delay_us", &Config::features_queue_delay_us, 50,
            kMaxMillis * 1000, kQueueDelaySentence),
    Text("features", "cpus", &Config::features_cpus, TextRule::kCpus, kCpusSentence),
    Text("features", "user", &Config::features_user, TextRule::kUser, kUserSentence),
    Integer("features", "fifo_priority", &Config::features_fifo_priority, 0, kMaxFifoPriority,
            kFifoSentence),
    Integer("features", "numa_node", &Config::features_numa_node, -1, kMaxNode, kNodeSentence),
    Integer("features", "memory_limit_mb", &Config::features_memory_limit_mb, 0, kMaxMegabytes,
            kLimitSentence),
    Choice("features", "heap_profile", &Config::features_heap_profile, kSwitchChoices,
           kHeapProfileSentence),

    Integer("execution", "workers", &Config::execution_workers, 1, 8, "Processes that run models."),
    Integer(
        "execution", "spare", &Config::execution_spare, 0, 2,
        "Processes more that hold every model, on the device too, and get no requests, until one "
        "of the workers dies: then a spare takes its place at once. Each takes the memory of a "
        "worker and adds no capacity."),
    Integer("execution", "max_workers", &Config::execution_max_workers, 0, 8, kMaxWorkersSentence),
    Integer("execution", "min_workers", &Config::execution_min_workers, 1, 8, kMinWorkersSentence),
    Integer("execution", "target_queue_delay_us", &Config::execution_queue_delay_us, 50,
            kMaxMillis * 1000, kQueueDelaySentence),
    Text("execution", "cpus", &Config::execution_cpus, TextRule::kCpus, kCpusSentence),
    Text("execution", "user", &Config::execution_user, TextRule::kUser, kUserSentence),
    Integer("execution", "fifo_priority", &Config::execution_fifo_priority, 0, kMaxFifoPriority,
            kFifoSentence),
    Integer("execution", "numa_node", &Config::execution_numa_node, -1, kMaxNode, kNodeSentence),
    Integer("execution", "memory_limit_mb", &Config::execution_memory_limit_mb, 0, kMaxMegabytes,
            kLimitSentence),
    Integer("execution", "memory_budget_mb", &Config::execution_budget_mb, 0, kMaxMegabytes,
            "Memory that models may take in each of these processes: their plans, which all share, "
            "and what each makes of them. A load that would pass it is refused before any of them "
            "hears of it, and what is served goes on. While a version takes another's place both "
            "count. 0: no limit."),
    Integer("execution", "device_budget_mb", &Config::execution_device_budget_mb, 0, kMaxMegabytes,
            "Memory that the models of each of these processes may take on the device. A model "
            "that does not fit runs on the CPU, as on a device that is full. 0: no limit."),
    Choice("execution", "over_budget", &Config::over_budget, kOverBudgetChoices,
           "What becomes of a load that would pass `memory_budget_mb`. `refuse`: that; "
           "`evict_idle`: versions that had no request for `evict_after_ms` go first, those idle "
           "longest before others, until it fits (`services/registry/README.md`); they come back "
           "when they are loaded again."),
    Integer("execution", "evict_after_ms", &Config::evict_after_ms, 100, 30 * 86'400'000LL,
            "Time without a client's request before a version may be evicted."),
    Choice("execution", "heap_profile", &Config::execution_heap_profile, kSwitchChoices,
           kHeapProfileSentence),
    Integer("execution", "max_batch_rows", &Config::max_batch_rows, 1, 1 << 20,
            "Rows taken in one pass over a model."),
    Choice("execution", "device", &Config::device, kDeviceChoices,
           "Where models run. `auto`: on a CUDA device where one is there and was measured to be "
           "faster; `cpu`: never on one; `cuda`: as `auto`, and without a device the start ends."),
    Integer("execution", "device_index", &Config::device_index, 0, 63,
            "Which of the driver's devices."),
    Integer("execution", "device_from_rows", &Config::device_from_rows, 0, 1 << 20,
            "Batches of so many rows and more run on the device. 0: each model as measured when it "
            "is loaded."),
    Text("execution", "device_library", &Config::device_library, TextRule::kOptionalPath,
         "The device plug-in, a shared object of this build. Empty: `libmillrace_cuda.so` beside "
         "the execution program."),
    Choice("execution", "fast_sums", &Config::fast_sums, kSwitchChoices,
           "Whether a device may add up a row's trees in any order: faster, and no longer the same "
           "bits as the CPU's (the bound stands in `kernels/device/plugin.h`)."),

    Integer("aggregation", "workers", &Config::aggregation_workers, 1, 8,
            "Processes that join ensembles and make labels."),
    Integer("aggregation", "max_workers", &Config::aggregation_max_workers, 0, 8,
            kMaxWorkersSentence),
    Integer("aggregation", "min_workers", &Config::aggregation_min_workers, 1, 8,
            kMinWorkersSentence),
    Integer("aggregation", "target_queue_delay_us", &Config::aggregation_queue_delay_us, 50,
            kMaxMillis * 1000, kQueueDelaySentence),
    Text("aggregation", "cpus", &Config::aggregation_cpus, TextRule::kCpus, kCpusSentence),
    Text("aggregation", "user", &Config::aggregation_user, TextRule::kUser, kUserSentence),
    Integer("aggregation", "fifo_priority", &Config::aggregation_fifo_priority, 0, kMaxFifoPriority,
            kFifoSentence),
    Integer("aggregation", "numa_node", &Config::aggregation_numa_node, -1, kMaxNode,
            kNodeSentence),
    Integer("aggregation", "memory_limit_mb", &Config::aggregation_memory_limit_mb, 0,
            kMaxMegabytes, kLimitSentence),
    Choice("aggregation", "heap_profile", &Config::aggregation_heap_profile, kSwitchChoices,
           kHeapProfileSentence),

    Choice("memory", "huge_pages", &Config::huge_pages, kHugePageChoices,
           "Whether the blocks of requests and answers lie in 2 MiB pages of the machine's pool "
           "(`vm.nr_hugepages`): a worker then starts in less time. `try`: in ordinary pages where "
           "the pool has none left; `require`: a pool too small for two incarnations of every "
           "process ends the start."),

    Integer("registry", "compile_memory_mb", &Config::compile_memory_mb, 64, kMaxMegabytes,
            "Memory of the child process that compiles one model; a model that needs more fails."),
    Integer("registry", "compile_timeout_ms", &Config::compile_timeout_ms, 100, kMaxMillis,
            "Time of that child."),
    Integer("registry", "load_interval_ms", &Config::load_interval_ms, 0, kMaxMillis,
            "Loads, unloads and reloads: eight begin as they come, then one in each such time; "
            "the others wait for their turn. Requests feel little of a load, but of loads without "
            "end they would. 0: none waits."),
    Integer("registry", "max_age_days", &Config::max_age_days, 0, 36'500,
            "Age of a version's weights, by its manifest's `trained_at`, else by the time of its "
            "file, from which it is read-only: no route is promoted to it, and `millrace debt` "
            "lists it. 0: any age."),
    Integer("registry", "max_untagged_percent", &Config::max_untagged_percent, 0, 100,
            "Share of a version's inputs that may be without a data-protection tag before "
            "`millrace debt` lists it."),
    Text("registry", "debt_webhook", &Config::debt_webhook, TextRule::kWebhook,
         "Where the owner of a version is told that its weights became too old: a POST of JSON "
         "(`services/registry/debt/README.md`). Empty: nobody is told."),
    Choice("registry", "manifest", &Config::manifest, kManifestChoices,
           "What becomes of `manifest.yaml` beside a version (`services/registry/README.md`). "
           "`accept`: a version that has one is held against it before it is loaded; `require`: "
           "one that has none is refused; `off`: it is not looked at."),
    Text("registry", "trusted_keys", &Config::trusted_keys, TextRule::kPublicKeys,
         "Public keys of those who may release versions, 64 hexadecimal digits each, commas "
         "between (`millrace model keygen`). A manifest that is signed by another key is refused. "
         "Empty: signatures are not looked at."),
    Choice("registry", "allow_unsigned", &Config::allow_unsigned, kSwitchChoices,
           "Whether a manifest without a signature is taken. With `false`, versions without a "
           "manifest are refused, too."),
    Choice(
        "registry", "strict", &Config::strict_manifest, kSwitchChoices,
        "Whether every version must have a manifest with its lineage and its compliance policy."),
    Choice(
        "registry", "watch", &Config::watch, kWatchChoices,
        "Whether versions that come, change or go in the repository are taken up without being "
        "asked for (`services/registry/watch/README.md`). `off`: only on `millrace reload`, "
        "SIGHUP and load, so that what is served changes only when somebody says so, as users "
        "of Triton are used to; `auto`: the kernel tells of changes (inotify), and a file system "
        "that other machines write to is looked at from time to time; `inotify`, `poll`: that "
        "one."),
    Integer("registry", "settle_ms", &Config::settle_ms, 10, kMaxMillis,
            "While it watches: how long a version must stand still before it is taken for whole. "
            "One whose `manifest.yaml` was renamed into place, or that was itself, is at once."),
    Integer("registry", "poll_ms", &Config::poll_ms, 50, kMaxMillis,
            "Time between two looks at the repository where the kernel does not tell of changes, "
            "and at whether it is still there where it does."),
    Text("registry", "routes_file", &Config::routes_file, TextRule::kOptionalPath,
         "YAML file of routes (`services/registry/routes/README.md`), written by `millrace route`, "
         "with its journal beside it. Empty: `routes.yaml` in the repository."),
    Text("registry", "user", &Config::registry_user, TextRule::kUser, kUserSentence),

    Text("supervisor", "admin_socket", &Config::admin_socket, TextRule::kOptionalPath,
         "Unix socket of `millrace status` and `millrace scale`. Empty: `millrace.sock` under "
         "`$XDG_RUNTIME_DIR`, else under `/run/millrace`."),
    Integer("supervisor", "hang_ms", &Config::hang_ms, 100, kMaxMillis,
            "Time without progress, while work waits, after which a worker is ended."),
    Integer("supervisor", "drain_ms", &Config::drain_ms, 0, kMaxMillis,
            "Time that requests in flight have when the server is asked to stop."),
    Integer("supervisor", "memory_budget_mb", &Config::memory_budget_mb, 64, kMaxMegabytes,
            "Shared memory of all processes together; a scale beyond it is refused."),
    Integer("supervisor", "scale_up_after_ms", &Config::scale_up_after_ms, 250, kMaxMillis,
            "How long a stage with a scaling policy must be too slow, without a break, before it "
            "gets a process more; and between two of them."),
    Integer("supervisor", "scale_down_after_ms", &Config::scale_down_after_ms, 250, kMaxMillis,
            "How long it must have one too many. Doubles, up to eight times, where the removed one "
            "was soon missed."),
    Choice("supervisor", "scale_beyond_cpus", &Config::scale_beyond_cpus, kSwitchChoices,
           "Whether a policy may give a stage more processes than it has CPUs. By hand it always "
           "may."),
    Choice(
        "supervisor", "wait", &Config::wait, kWaitChoices,
        "How a lane without work waits before it sleeps. `spin` polls, which is the fastest with a "
        "core for each lane and ruinous without; `yield` gives the core away between two looks; "
        "`park` sleeps at once. `auto` chooses by cores, lanes and what else runs here."),
    Integer("supervisor", "storm_intensity", &Config::storm_intensity, 1, 1000,
            "Deaths of workers, none of which answered in between, after which the breaker of a "
            "stage, or of the model that they were executing, opens: its requests are refused as "
            "UNAVAILABLE, everything else goes on."),
    Integer("supervisor", "storm_period_ms", &Config::storm_period_ms, 100, kMaxMillis,
            "Time within which these deaths lie."),
    Integer("supervisor", "storm_rest_ms", &Config::storm_rest_ms, 10, kMaxMillis,
            "Time that a breaker is open; then one request is let through, and decides."),

    Text("observer", "metrics", &Config::metrics_listen, TextRule::kListen,
         "Address of `/metrics`, for Prometheus. Empty: there is no observer. One that is taken "
         "does "
         "not keep the server from starting: it is tried again."),
    Integer(
        "observer", "slo_ms", &Config::slo_ms, 1, 300'000,
        "What an answer should take at the most; alerts go by the share that does. An edge of the "
        "histograms: 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6 or 8 times a power of ten."),
    Text("observer", "user", &Config::observer_user, TextRule::kUser, kUserSentence),

    Choice("tracing", "enabled", &Config::tracing, kSwitchChoices,
           "Whether lanes write down what they do, in memory, for the observer to make traces of. "
           "Without an observer nobody does."),
    Integer("tracing", "sample_ppm", &Config::trace_sample_ppm, 0, 1'000'000,
            "Requests in a million that are traced whatever becomes of them. One whose client says "
            "so (`traceparent`) is traced, or not, as it says."),
    Integer("tracing", "slow_ms", &Config::trace_slow_ms, 0, 300'000,
            "An answer that took longer is traced, as is a failed one, up to 100 a second of each. "
            "0: `observer.slo_ms`."),
    Text("tracing", "otlp_endpoint", &Config::otlp_endpoint, TextRule::kOtlp,
         "Where traces are sent by OTLP, beside what the observer shows: a collector on this "
         "machine or in a private network."),

    Integer(
        "faults", "seed", &Config::fault_seed, 0, UINT32_MAX,
        "Of the choice of requests: the same requests (by the client's id, else by their number) "
        "and the same seed give the same faults."),
    Text("faults", "rules", &Config::fault_rules, TextRule::kFaultRules,
         "What shall go wrong; a list of maps, as above."),
};

constexpr std::pair<std::string_view, std::string_view> kSections[] = {
    {"", "At the top of the file."},
    {"ingress", "Where requests come in."},
    {"features", "Raw columns to tensors."},
    {"execution", "The models."},
    {"aggregation", "Ensembles, labels, top-k."},
    {"memory", "Shared memory of all processes."},
    {"registry", "Reading and compiling the model repository."},
    {"supervisor", "The life of the other processes."},
    {"observer", "Metrics. Its death costs no request."},
    {"tracing",
     "Spans of requests, from entry to kernel. `GET /api/traces` of the observer has the newest."},
    {"faults",
     "Faults on purpose, to test policies with. A plan is refused unless the server is started "
     "with "
     "`--enable-faults`. A rule has `stage` (`ingress`, `features`, `execution`, `aggregation`) "
     "and "
     "`kind`: `delay` (`delay_ms`; `per: row` for each row; `busy: true` burns CPU time instead of "
     "holding the lane up), `loss` (nothing is sent on), `error` (UNAVAILABLE), `crash` (`signal`: "
     "`SEGV`, `ABRT`, `BUS`, `ILL`, `FPE`, `KILL`), `hang`, `no_memory`, `wrong_output`, "
     "`device_lost` (execution). It may have `model` (and its "
     "`version`, behind ingress), `fraction` of the requests (1), `header`: "
     "only "
     "for requests that ask for that name (HTTP header `millrace-fault`, gRPC parameter "
     "`millrace_fault`), `once: true`: not when a request is sent again, and in ingress "
     "`max_active`: "
     "requests held at a time."},
};

}  // namespace

std::string ConfigField::FullName() const {
  return section.empty() ? std::string(name) : std::string(section) + "." + std::string(name);
}

absl::Span<const ConfigField> ConfigSchema() { return kSchema; }

std::string_view ConfigSectionSentence(std::string_view section) {
  for (const auto& [name, sentence] : kSections) {
    if (name == section) return sentence;
  }
  return "";
}

}  // namespace millrace
