// Tree ensembles on the device beside the CPU's kernels; part of `tools/dev gpu`.
//
//   gpu_trees PLUGIN.so [--json FILE] [--quick]
//
// For three generated forests and five batches: what one call of run() takes, from the rows in
// registered host memory to the margins in the caller's memory. Every output is compared with the
// reference in the same run (fast mode: to one part in a thousand). --quick: a few rounds of the
// smallest forest, for the SIMT shim. Exit codes: 0, 1 an output was wrong, 2 usage, 3 no device.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "kernels/bench/gpu_floors.h"
#include "kernels/cpu/level.h"
#include "kernels/cpu/prepare.h"
#include "kernels/cuda/load_plugin.h"
#include "kernels/device/plugin.h"
#include "kernels/plan/plan_view.h"
#include "kernels/reference/evaluate.h"
#include "kernels/testing/forests.h"

namespace millrace {
namespace {

constexpr uint64_t kInPlaceBytes = 1024 * 1024;

struct Row {
  std::string test, subject, metric, unit, value;
  bool number = true;
};

struct Report {
  std::vector<Row> rows;
  bool wrong = false;

  void Add(const std::string& test, const std::string& subject, const char* metric,
           const char* unit, double value) {
    char text[64];
    snprintf(text, sizeof text, "%.4g", value);
    rows.push_back({test, subject, metric, unit, text});
  }
  void Say(const char* metric, const std::string& value) {
    rows.push_back({"run", "machine", metric, "", value, false});
  }
};

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return quoted + '"';
}

bool WriteJson(const Report& report, const char* path) {
  FILE* const file = fopen(path, "w");
  if (file == nullptr) return false;
  const char* before = "[\n";
  for (const Row& row : report.rows) {
    fprintf(
        file, "%s  {\"case\": %s, \"subject\": %s, \"metric\": %s, \"unit\": %s, \"value\": %s}",
        before, Quoted(row.test).c_str(), Quoted(row.subject).c_str(), Quoted(row.metric).c_str(),
        Quoted(row.unit).c_str(), (row.number ? row.value : Quoted(row.value)).c_str());
    before = ",\n";
  }
  fprintf(file, "\n]\n");
  return fclose(file) == 0;
}

// The processor's name, as the kernel has it.
std::string CpuName() {
  FILE* const file = fopen("/proc/cpuinfo", "r");
  char line[512];
  while (file != nullptr && fgets(line, sizeof line, file) != nullptr) {
    if (strncmp(line, "model name", 10) != 0) continue;
    fclose(file);
    std::string name = strchr(line, ':') + 2;
    name.pop_back();
    return name;
  }
  if (file != nullptr) fclose(file);
  return "unknown";
}

class Bench {
 public:
  Bench(const DevicePlugin* plugin, bool quick) : plugin_(*plugin), quick_(quick) {}

  Report& report() { return report_; }

  // Medians are of single calls, throughput of all of them.
  void Time(const std::string& test, const std::string& subject, size_t rows,
            const std::function<void()>& run) {
    const int64_t budget_ns = quick_ ? 0 : 300 * kNanosPerMilli;
    const size_t least = quick_ ? 3 : 100;
    for (size_t i = 0; i < least / 3; ++i) run();
    std::vector<int64_t> times;
    const int64_t start = MonotonicNanos();
    int64_t last = start;
    while (times.size() < least || (last - start < budget_ns && times.size() < 1'000'000)) {
      run();
      const int64_t now = MonotonicNanos();
      times.push_back(now - last);
      last = now;
    }
    const double seconds = static_cast<double>(last - start) * 1e-9;
    std::sort(times.begin(), times.end());
    const auto micros = [&](double q) {
      return static_cast<double>(
                 times[static_cast<size_t>(q * static_cast<double>(times.size() - 1))]) *
             1e-3;
    };
    report_.Add(test, subject, "p50", "us", micros(0.5));
    report_.Add(test, subject, "p99", "us", micros(0.99));
    printf("%-42s %-18s %10.2f %10.2f", test.c_str(), subject.c_str(), micros(0.5), micros(0.99));
    if (rows != 0) {
      const double rate = static_cast<double>(rows * times.size()) / seconds;
      report_.Add(test, subject, "throughput", "rows/s", rate);
      printf(" %14.0f", rate);
    }
    printf("\n");
    fflush(stdout);
  }

  void Floors(const std::vector<size_t>& copy_bytes) {
    const std::string fault =
        MeasureFloors(copy_bytes, [&](const std::string& name, const std::function<void()>& run) {
          Time(name, "floor", 0, run);
        });
    if (!fault.empty()) Wrong("floors: " + fault);
  }

  void Forest(const std::string& name, const ForestSpec& spec, const std::vector<size_t>& batches) {
    const std::vector<std::byte> image = MakeForest(spec);
    const PlanView plan{image.data()};
    const std::vector<float> rows = MakeRows(spec, batches.back(), 0.05, 11);
    std::vector<float> expected(batches.back() * plan.groups());
    reference::Margins(plan, DataType::kFp32, rows.data(), batches.back(), expected.data());
    DeviceError error = {};
    // Where it is not supported, rows are copied.
    const bool registered = plugin_.register_memory(rows.data(), rows.size() * sizeof(float),
                                                    &error) == DeviceCode::kOk;
    DeviceOptions options = {
        .device = 0, .fast = 0, .max_rows = batches.back(), .in_place_bytes = kInPlaceBytes};
    Device(name, "gpu", options, image, rows, expected, batches);
    options.fast = 1;
    Device(name, "gpu fast", options, image, rows, expected, batches);
    // What the copy engine would bring, and what the kernel reads instead.
    const std::vector<size_t> large(batches.end() - 2, batches.end());
    options.fast = 0;
    options.in_place_bytes = 0;
    Device(name, "gpu, rows copied", options, image, rows, expected, large);
    options.in_place_bytes = UINT64_MAX;
    if (registered) Device(name, "gpu, rows in place", options, image, rows, expected, large);
    if (registered) plugin_.unregister_memory(rows.data());
    Cpu(name, plan, rows, expected, batches);
  }

 private:
  void Wrong(const std::string& what) {
    report_.wrong = true;
    printf("WRONG  %s\n", what.c_str());
  }

  static std::string Case(const std::string& forest, size_t batch) {
    return forest + ", batch " + std::to_string(batch);
  }

  void Check(const std::string& what, const std::vector<float>& got,
             const std::vector<float>& expected, size_t n, bool bits) {
    for (size_t i = 0; i < n; ++i) {
      const bool same = bits ? memcmp(&got[i], &expected[i], sizeof(float)) == 0
                             : fabsf(got[i] - expected[i]) <= 1e-3f * (1 + fabsf(expected[i]));
      if (!same) return Wrong(what + ": row " + std::to_string(i));
    }
  }

  void Device(const std::string& forest, const char* subject, const DeviceOptions& options,
              const std::vector<std::byte>& image, const std::vector<float>& rows,
              const std::vector<float>& expected, const std::vector<size_t>& batches) {
    DeviceModel* model = nullptr;
    DeviceError error = {};
    if (plugin_.open(image.data(), image.size(), &options, &model, &error) != DeviceCode::kOk) {
      return Wrong(forest + ": open: " + error.sentence);
    }
    std::vector<float> margins(expected.size());
    for (const size_t n : batches) {
      const DevicePiece piece = {rows.data(), n, margins.data()};
      DeviceCode code = DeviceCode::kOk;
      Time(Case(forest, n), subject, n, [&] {
        if (code == DeviceCode::kOk) code = plugin_.run(model, &piece, 1, &error);
      });
      if (code != DeviceCode::kOk) Wrong(Case(forest, n) + ": " + error.sentence);
      Check(Case(forest, n) + ", " + subject, margins, expected, n, options.fast == 0);
    }
    plugin_.close(model);
  }

  // One thread, the fastest level that this processor has.
  void Cpu(const std::string& forest, const PlanView& plan, const std::vector<float>& rows,
           const std::vector<float>& expected, const std::vector<size_t>& batches) {
    const cpu::Level& level = *cpu::SupportedLevels().front();
    const cpu::PreparedForest prepared(plan);
    const size_t scratch_bytes = cpu::ScratchBytes(prepared.tables());
    auto* scratch = static_cast<uint8_t*>(aligned_alloc(64, (scratch_bytes + 63) / 64 * 64));
    std::vector<float> margins(expected.size());
    std::vector<const void*> in(rows.size() / plan.features());
    std::vector<void*> out(in.size());
    for (size_t i = 0; i < in.size(); ++i) {
      in[i] = rows.data() + i * plan.features();
      out[i] = margins.data() + i * plan.groups();
    }
    const std::string subject = std::string("cpu ") + level.name;
    for (const size_t n : batches) {
      Time(Case(forest, n), subject, n, [&] {
        for (size_t at = 0; at < n; at += cpu::kBlockRows) {
          level.margins(prepared.tables(), false, &in[at], &out[at],
                        std::min<size_t>(cpu::kBlockRows, n - at), scratch);
        }
      });
      Check(Case(forest, n) + ", " + subject, margins, expected, n * plan.groups(), true);
    }
    free(scratch);
  }

  const DevicePlugin& plugin_;
  const bool quick_;
  Report report_;
};

void DescribeMachine(const DeviceInfo& info, Report* report) {
  char date[32];
  const time_t now = time(nullptr);
  strftime(date, sizeof date, "%Y-%m-%d", gmtime(&now));
  const auto dotted = [](int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
  };
  report->Say("date", date);
  report->Say("device", info.name);
  report->Say("compute capability",
              std::to_string(info.compute_major) + "." + std::to_string(info.compute_minor));
  report->Say("driver", dotted(info.driver_version));
  report->Say("run-time library", dotted(info.runtime_version));
  report->Say("processor", CpuName());
  for (const Row& row : report->rows) printf("%-20s %s\n", row.metric.c_str(), row.value.c_str());
}

int Main(int argc, char** argv) {
  const char* json = nullptr;
  bool quick = false;
  bool usage = argc < 2;
  for (int i = 2; i < argc; ++i) {
    if (strcmp(argv[i], "--quick") == 0)
      quick = true;
    else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
      json = argv[++i];
    else
      usage = true;
  }
  if (usage) {
    fprintf(stderr, "usage: gpu_trees PLUGIN.so [--json FILE] [--quick]\n");
    return 2;
  }
  std::string fault;
  const DevicePlugin* plugin = LoadPlugin(argv[1], &fault);
  if (plugin == nullptr) {
    fprintf(stderr, "gpu_trees: %s\n", fault.c_str());
    return 2;
  }
  DeviceInfo info = {};
  DeviceError error = {};
  if (plugin->start(0, &info, &error) != DeviceCode::kOk) {
    printf("no device to measure on: %s\n", error.sentence);
    return 3;
  }
  Bench bench(plugin, quick);
  DescribeMachine(info, &bench.report());
  printf("\n%-42s %-18s %10s %10s %14s\n", "case", "subject", "p50 us", "p99 us", "rows/s");
  const ForestSpec small = {.features = 64, .trees = 100, .depth = 4, .edges = 250};
  const ForestSpec middle = {.features = 64, .trees = 500, .depth = 6, .edges = 250};
  const ForestSpec large = {
      .features = 64, .trees = 1000, .depth = 12, .leaves = 255, .edges = 600};
  if (quick) {
    bench.Floors({256, 4096});
    bench.Forest("100 trees of depth 4", small, {1, 16});
  } else {
    const std::vector<size_t> batches = {1, 16, 64, 256, 1024, 4096, 16384};
    bench.Floors({64 * 4, 16 * 64 * 4, 256 * 64 * 4, 4096 * 64 * 4, 16384 * 64 * 4});
    bench.Forest("100 trees of depth 4", small, batches);
    bench.Forest("500 trees of depth 6", middle, batches);
    bench.Forest("1000 trees of 255 leaves", large, batches);
  }
  if (json != nullptr && !WriteJson(bench.report(), json)) {
    fprintf(stderr, "gpu_trees: %s cannot be written\n", json);
    return 2;
  }
  return bench.report().wrong ? 1 : 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
