// The server's configuration: one YAML file, checked whole before anything starts.
//
// Purpose: turn text into a Config, or say every fault at once (file, line, field, what is wrong).
// Who may call: any thread; nothing is kept between calls.
// Invariants:
//   1. Every field is described once, in the schema table (common/config_schema.h): name, type,
//      bounds, default, sentence. Parser and reference documentation both come from it.
//   2. An unknown field is a fault, never ignored.
//   3. A Config from ParseConfig lies within all bounds; an empty text gives the defaults.
// What fails: ParseConfig returns the faults; it never stops at the first.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

namespace millrace {

struct Config {
  // Where models are: <repository>/<model>/<version>/<file> and config.pbtxt.
  std::string repository = "models";
  // "host:port", or "unix:/path"; an empty one is not opened. Port 0 takes any free port.
  std::string grpc_listen = "127.0.0.1:8001";
  std::string http_listen = "127.0.0.1:8000";
  // "unix:/path" of clients that share memory with ingress; empty: not opened.
  std::string local_listen;
  std::string metrics_listen = "127.0.0.1:8002";  // of the observer; empty: there is none
  std::string tracing = "true";                   // false: nobody writes down what is traced
  std::string otlp_endpoint;  // "http://host:port/path" or "grpc://host:port"; empty: none
  std::string local_uids;     // "1000,1001": users beside root and the server's own
  // Unix socket of `millrace status` and `scale`; empty: $XDG_RUNTIME_DIR or /run/millrace.
  std::string admin_socket;
  std::string keys_file;  // of API keys; empty: none are asked for
  // CPUs that a stage's processes may use ("0-1,4"); empty: all.
  std::string ingress_cpus, features_cpus, execution_cpus, aggregation_cpus;
  // Users that a stage's processes run as; empty: the server's own.
  std::string ingress_user, features_user, execution_user, aggregation_user, registry_user,
      observer_user;
  std::string wait = "auto";    // how lanes wait: auto, spin, yield or park
  std::string device = "auto";  // where models run: auto, cpu or cuda
  // "true": what holds the heap of the stage's processes can be asked for, by stage.
  std::string ingress_heap_profile = "false", features_heap_profile = "false",
              execution_heap_profile = "false", aggregation_heap_profile = "false";
  std::string huge_pages = "off";  // of arenas: off, try or require
  std::string device_library;      // the plug-in; empty: the one beside the execution program
  std::string allow_client_shm = "false";  // shared memory of clients: false or true
  std::string client_shm_prefix;           // of its names, comma-separated; empty: any
  std::string allow_anonymous = "false";   // on the network without keys: false or true
  // PEM files of TLS, for gRPC and HTTP: both of the first two or neither; the last needs them.
  std::string tls_certificate, tls_key, tls_client_ca;
  std::string manifest = "accept";        // of model versions: off, accept or require
  std::string trusted_keys;               // that sign them: "HEX,HEX"
  std::string allow_unsigned = "true";    // versions: false or true
  std::string strict_manifest = "false";  // lineage and policy asked for: false or true
  std::string routes_file;                // empty: routes.yaml in the repository
  std::string fault_rules;                // YAML list, common/fault_rule.h; empty: no faults
  std::string fast_sums = "false";        // whether a device may sum in any order: false or true
  int64_t ingress_workers = 1;            // 1..ingress_max_workers
  int64_t ingress_max_workers = 2;        // 1..4; the workers' arenas are made for so many
  int64_t features_workers = 1;           // 1..8
  int64_t execution_workers = 1;          // 1..8
  int64_t execution_spare = 0;            // 0..2, beside them
  // Scaling by policy, by stage: none where the most is 0.
  int64_t features_max_workers = 0, execution_max_workers = 0, aggregation_max_workers = 0;
  int64_t features_min_workers = 1, execution_min_workers = 1, aggregation_min_workers = 1;
  int64_t features_queue_delay_us = 2'000, execution_queue_delay_us = 2'000,
          aggregation_queue_delay_us = 2'000;
  std::string scale_beyond_cpus = "false";
  int64_t scale_up_after_ms = 1'000;
  int64_t scale_down_after_ms = 30'000;
  int64_t aggregation_workers = 1;  // 1..8
  int64_t default_deadline_ms = 10'000;
  int64_t max_deadline_ms = 60'000;
  int64_t max_request_bytes = 1 << 20;           // of one request's tensors, and of one answer's
  int64_t max_in_flight = 256;                   // requests one ingress lane holds at a time
  int64_t max_connections = 1024;                // of gRPC, and of HTTP, to one ingress process
  int64_t probe_period_ms = 1'000;               // of golden requests; 0: none are sent
  int64_t grpc_max_connection_age_ms = 600'000;  // 0: a connection may stay for ever
  int64_t local_clients = 64;                    // connected at a time, to one ingress process
  int64_t local_in_flight = 128;                 // requests that one local client holds
  int64_t local_memory_mb = 256;                 // of all local clients' regions, and ours for them
  int64_t max_batch_rows = 4096;                 // rows execution takes in one pass
  // Of models in each execution worker, and of each worker's on the device; 0: no limit.
  int64_t execution_budget_mb = 0, execution_device_budget_mb = 0;
  std::string over_budget = "refuse";  // a load beyond them: refuse or evict_idle
  int64_t evict_after_ms = 600'000;    // without a request before a version may be evicted
  int64_t device_index = 0;            // of the driver's devices
  int64_t device_from_rows = 0;        // of a batch; 0: as measured
  // Of SCHED_FIFO, by stage; 0: the usual scheduler.
  int64_t ingress_fifo_priority = 0, features_fifo_priority = 0, execution_fifo_priority = 0,
          aggregation_fifo_priority = 0;
  // NUMA node of a stage's memory; -1: any.
  int64_t ingress_numa_node = -1, features_numa_node = -1, execution_numa_node = -1,
          aggregation_numa_node = -1;
  // Of all processes of a stage together, by its control group; 0: none.
  int64_t ingress_memory_limit_mb = 0, features_memory_limit_mb = 0, execution_memory_limit_mb = 0,
          aggregation_memory_limit_mb = 0;
  int64_t hang_ms = 1'000;            // without progress before a worker is ended
  int64_t drain_ms = 10'000;          // for requests in flight at SIGTERM
  int64_t memory_budget_mb = 4'096;   // a scale beyond it is refused
  int64_t compile_memory_mb = 2'048;  // of the child that compiles one model
  int64_t compile_timeout_ms = 60'000;
  int64_t load_interval_ms = 1'000;  // between two loads, beyond a burst; 0: none waits
  std::string watch = "off";         // of the repository: off, auto, inotify or poll
  int64_t settle_ms = 2'000;    // without a change before a version without a manifest is whole
  int64_t poll_ms = 5'000;      // between two looks at the repository
  int64_t storm_intensity = 5;  // deaths without an answer before a breaker opens
  int64_t storm_period_ms = 30'000;   // within which they count
  int64_t storm_rest_ms = 5'000;      // from a breaker's opening to its probe
  std::string debt_webhook;           // "http://host:port/path"; empty: nobody is told
  int64_t max_age_days = 180;         // of weights, before they are read-only; 0: any
  int64_t max_untagged_percent = 15;  // of inputs
  int64_t slo_ms = 100;               // what an answer should take at the most
  int64_t trace_sample_ppm = 10'000;  // of requests, in a million
  int64_t trace_slow_ms = 0;          // from which on an answer is slow; 0: slo_ms
  int64_t fault_seed = 1;             // of the choice of requests that a fault befalls
};

// Whether lanes write down what is traced: an observer is there to read it.
inline bool IsTraced(const Config& config) {
  return config.tracing == "true" && !config.metrics_listen.empty();
}

struct ConfigFault {
  int line = 0;       // 1-based; 0 where no line can be named (an unreadable file)
  std::string field;  // "ingress.grpc_listen"
  std::string message;
};

struct ConfigResult {
  Config config;
  std::vector<ConfigFault> faults;  // empty: `config` may be used
};

ConfigResult ParseConfig(std::string_view yaml);

// "FILE:LINE: FIELD: MESSAGE" for each fault, as far as each is known.
std::vector<std::string> FormatFaults(std::string_view file,
                                      const std::vector<ConfigFault>& faults);

// What is wrong with the fields for shared memory of clients, which a command line may change after
// the file was checked; empty: nothing is.
std::string_view ClientShmFault(const Config& config);

// What is wrong with listening there, for want of keys; empty: nothing is. For addresses of a
// command line, too.
std::string_view OpenListenFault(const Config& config, std::string_view listen);

// The reference page (Markdown), from the schema.
std::string ConfigReference();

}  // namespace millrace
