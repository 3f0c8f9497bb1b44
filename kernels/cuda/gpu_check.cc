// Holds the plug-in against the reference on whatever device there is; part of `tools/dev gpu`.
//
//   gpu_check PLUGIN.so [--small] [--nvtx RECORDER.so]
//
// Every comparison is bit by bit, but for fast mode, which is held to its bound. --small: sizes for
// the SIMT shim. --nvtx: the ranges of the steps, too, as a profiler would be told of them
// (testing/nvtx_recorder.cc). Ends with `N passed, N failed`. Exit codes: 0 all passed, 1 some
// failed, 2 usage, 3 the plug-in found no device that it can use.
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/load_plugin.h"
#include "kernels/device/plugin.h"
#include "kernels/plan/plan_view.h"
#include "kernels/reference/evaluate.h"
#include "kernels/testing/forests.h"

namespace millrace {
namespace {

struct Tally {
  int passed = 0;
  int failed = 0;

  bool Note(bool good, const std::string& what) {
    ++(good ? passed : failed);
    if (!good) printf("FAILED  %s\n", what.c_str());
    return good;
  }
};

struct Case {
  const char* name;
  ForestSpec spec;
};

constexpr TreeFamily kX = TreeFamily::kXgboost;
constexpr TreeFamily kL = TreeFamily::kLightgbm;

// Small enough for the shim; each has something that the others have not.
std::vector<Case> SmallCases() {
  return {
      {"xgboost", {.features = 7, .trees = 40, .hostile = 0.2}},
      {"xgboost sets", {.features = 9, .trees = 30, .categorical = 0.7, .stumps = 0.1}},
      {"xgboost classes", {.features = 5, .groups = 3, .trees = 33, .depth = 5, .leaves = 9}},
      {"xgboost vectors", {.features = 5, .groups = 4, .trees = 12, .vector_leaves = true}},
      {"xgboost many edges", {.features = 2, .trees = 200, .depth = 3, .edges = 1500}},
      {"xgboost empty", {.features = 3, .groups = 2, .trees = 0}},
      {"xgboost stumps", {.features = 3, .trees = 21, .stumps = 1.0}},
      {"xgboost many columns",
       {.features = 300, .trees = 60, .depth = 5, .edges = 8, .categorical = 0.5}},
      {"lightgbm",
       {.family = kL, .features = 7, .trees = 40, .hostile = 0.2, .mixed_missing = true}},
      {"lightgbm sets",
       {.family = kL, .features = 6, .trees = 30, .categorical = 0.7, .mixed_missing = true}},
      {"lightgbm linear",
       {.family = kL, .features = 6, .trees = 25, .depth = 9, .leaves = 12, .linear = 0.6}},
      {"lightgbm classes",
       {.family = kL, .features = 6, .groups = 5, .trees = 31, .depth = 7, .leaves = 11}},
      {"lightgbm vectors",
       {.family = kL, .features = 4, .groups = 3, .trees = 10, .vector_leaves = true}},
  };
}

// What only a device is fast enough for.
std::vector<Case> LargeCases() {
  return {
      {"xgboost 100 x 4", {.features = 64, .trees = 100, .depth = 4, .edges = 250}},
      {"xgboost 500 x 6", {.features = 64, .trees = 500, .depth = 6, .edges = 250}},
      {"xgboost 1000 x 255 leaves",
       {.features = 64, .trees = 1000, .depth = 12, .leaves = 255, .edges = 600}},
      {"lightgbm 1000 x 255 leaves",
       {.family = kL, .features = 64, .trees = 1000, .depth = 16, .leaves = 255, .edges = 600}},
      {"xgboost wide tree", {.features = 16, .trees = 3, .depth = 16, .edges = 4000}},
      {"lightgbm wide tree",
       {.family = kL, .features = 16, .trees = 2, .depth = 16, .edges = 4000}},
      {"xgboost 2000 features",
       {.features = 2000, .trees = 400, .depth = 7, .edges = 30, .categorical = 0.3}},
      {"lightgbm 100 classes",
       {.family = kL, .features = 30, .groups = 100, .trees = 1000, .depth = 8, .leaves = 31}},
      {"xgboost 300 targets",
       {.features = 30, .groups = 300, .trees = 50, .depth = 6, .vector_leaves = true}},
  };
}

// How a batch is handed over.
struct Way {
  const char* name;
  uint64_t in_place_bytes;
  bool registered;
  uint32_t pieces;
};

constexpr Way kWays[] = {
    {"pinned", 1ull << 40, false, 1},  {"pinned, pieces", 1ull << 40, false, 7},
    {"in place", 1ull << 40, true, 1}, {"in place, pieces", 1ull << 40, true, 7},
    {"copied", 0, false, 3},           {"copied, registered", 0, true, 2},
    {"by size", 8192, true, 3},
};

class Checker {
 public:
  Checker(const DevicePlugin* plugin, bool small) : plugin_(*plugin), small_(small) {
    batches_ = {1, 2, 3, 5, 16, 31, 33};
    if (!small) batches_.insert(batches_.end(), {64, 100, 256, 1000, 2049, 4096});
  }

  void Run(const Case& test) {
    const std::vector<std::byte> image = MakeForest(test.spec);
    const PlanView plan{image.data()};
    const size_t most = batches_.back();
    const std::vector<float> rows = MakeRows(test.spec, most, 0.3, 5);
    const std::vector<std::byte> expected = Reference(plan, rows, most);
    for (const Way& way : kWays) Compare(test, way, image, rows, expected);
    const bool sums_fast = plan.groups() == 1 && !plan.vector_leaves() && plan.linears().empty();
    if (sums_fast) Fast(test, image, rows, expected);
    TooMany(test, image, rows);
  }

  Tally& tally() { return tally_; }
  int64_t runs() const { return runs_; }  // that were kOk

 private:
  static size_t MarginBytes(const PlanView& plan) {
    return plan.groups() * DataTypeSize(plan.margin_type());
  }

  static std::vector<std::byte> Reference(const PlanView& plan, const std::vector<float>& rows,
                                          size_t n) {
    std::vector<std::byte> margins(n * MarginBytes(plan));
    reference::Margins(plan, DataType::kFp32, rows.data(), n, margins.data());
    return margins;
  }

  DeviceModel* Open(const std::string& name, const std::vector<std::byte>& image,
                    uint64_t in_place_bytes, bool fast) {
    const DeviceOptions options = {
        .device = 0, .fast = fast, .max_rows = batches_.back(), .in_place_bytes = in_place_bytes};
    DeviceModel* model = nullptr;
    DeviceError error = {};
    const DeviceCode code = plugin_.open(image.data(), image.size(), &options, &model, &error);
    tally_.Note(code == DeviceCode::kOk, name + ": open: " + error.sentence);
    return model;
  }

  // One batch of the first n rows, cut into pieces of uneven size.
  bool RunBatch(const std::string& name, DeviceModel* model, const PlanView& plan,
                const std::vector<float>& rows, size_t n, uint32_t piece_count,
                std::vector<std::byte>* margins) {
    margins->assign(n * MarginBytes(plan), std::byte{0xcd});
    std::vector<DevicePiece> pieces;
    size_t at = 0;
    for (uint32_t i = 0; i < piece_count; ++i) {
      const size_t end =
          i + 1 == piece_count ? n : n * (i + 1) * (i + 1) / piece_count / piece_count;
      pieces.push_back(
          {rows.data() + at * plan.features(), end - at, margins->data() + at * MarginBytes(plan)});
      at = end;
    }
    DeviceError error = {};
    const DeviceCode code = plugin_.run(model, pieces.data(), pieces.size(), &error);
    if (code == DeviceCode::kOk) ++runs_;
    return tally_.Note(code == DeviceCode::kOk, name + ": run: " + error.sentence);
  }

  void Compare(const Case& test, const Way& way, const std::vector<std::byte>& image,
               const std::vector<float>& rows, const std::vector<std::byte>& expected) {
    const PlanView plan{image.data()};
    const std::string name = std::string(test.name) + ", " + way.name;
    DeviceError error = {};
    if (way.registered) {
      const DeviceCode code =
          plugin_.register_memory(rows.data(), rows.size() * sizeof(float), &error);
      if (code == DeviceCode::kUnsupported) return;  // the other ways are what is left
      if (!tally_.Note(code == DeviceCode::kOk, name + ": register: " + error.sentence)) return;
    }
    DeviceModel* model = Open(name, image, way.in_place_bytes, false);
    std::vector<std::byte> margins;
    for (const size_t n : batches_) {
      if (model == nullptr) break;
      const std::string batch = name + ", batch " + std::to_string(n);
      if (!RunBatch(batch, model, plan, rows, n, way.pieces, &margins)) continue;
      tally_.Note(memcmp(margins.data(), expected.data(), margins.size()) == 0,
                  batch + ": margins differ from the reference's");
    }
    if (model != nullptr) plugin_.close(model);
    if (way.registered) plugin_.unregister_memory(rows.data());
  }

  // The same forest with every leaf and base made positive: its margins are the sums of magnitudes.
  template <typename Real>
  static std::vector<std::byte> Magnitudes(const std::vector<std::byte>& image, Section leaves) {
    std::vector<std::byte> copy = image;
    const PlanView plan{copy.data()};
    for (const Real& leaf : plan.Get<Real>(leaves)) const_cast<Real&>(leaf) = std::abs(leaf);
    for (const double& base : plan.bases()) const_cast<double&>(base) = std::abs(base);
    return copy;
  }

  void Fast(const Case& test, const std::vector<std::byte>& image, const std::vector<float>& rows,
            const std::vector<std::byte>& expected) {
    if (PlanView{image.data()}.family() == kX)
      FastAs<float>(test, image, rows, expected, kLeaves32);
    else
      FastAs<double>(test, image, rows, expected, kLeaves64);
  }

  template <typename Real>
  void FastAs(const Case& test, const std::vector<std::byte>& image, const std::vector<float>& rows,
              const std::vector<std::byte>& expected, Section leaves) {
    const PlanView plan{image.data()};
    const std::string name = std::string(test.name) + ", fast";
    const std::vector<std::byte> positive = Magnitudes<Real>(image, leaves);
    const std::vector<std::byte> sums = Reference(PlanView{positive.data()}, rows, batches_.back());
    // plugin.h: 2 n u / (1 - n u) of the sum of magnitudes; a little more, since that was rounded.
    const double unit = sizeof(Real) == sizeof(float) ? 0x1p-24 : 0x1p-53;
    const double n_unit = static_cast<double>(plan.trees().size() + 1) * unit;
    const double bound = 2 * n_unit / (1 - n_unit) * 1.01;
    DeviceModel* model = Open(name, image, 0, true);
    std::vector<std::byte> margins;
    for (const size_t n : batches_) {
      if (model == nullptr) break;
      const std::string batch = name + ", batch " + std::to_string(n);
      if (!RunBatch(batch, model, plan, rows, n, 1, &margins)) continue;
      bool good = true;
      for (size_t i = 0; i < n; ++i) {
        Real got, want, sum;
        memcpy(&got, margins.data() + i * sizeof(Real), sizeof(Real));
        memcpy(&want, expected.data() + i * sizeof(Real), sizeof(Real));
        memcpy(&sum, sums.data() + i * sizeof(Real), sizeof(Real));
        good = good && std::abs(double{got} - double{want}) <= bound * double{sum};
      }
      tally_.Note(good, batch + ": outside the bound");
    }
    if (model != nullptr) plugin_.close(model);
  }

  void TooMany(const Case& test, const std::vector<std::byte>& image,
               const std::vector<float>& rows) {
    DeviceModel* model = Open(test.name, image, 0, false);
    if (model == nullptr) return;
    const DevicePiece piece = {rows.data(), batches_.back() + 1, nullptr};
    DeviceError error = {};
    tally_.Note(plugin_.run(model, &piece, 1, &error) == DeviceCode::kInvalid,
                std::string(test.name) + ": a batch of more rows than the model has");
    plugin_.close(model);
  }

  const DevicePlugin& plugin_;
  const bool small_;
  std::vector<size_t> batches_;
  Tally tally_;
  int64_t runs_ = 0;
};

// Each run has one range of each kind, and none is left open.
void CheckRanges(const char* recorder, int64_t runs, Tally* tally) {
  void* const library = dlopen(recorder, RTLD_NOW | RTLD_LOCAL);
  const auto recorded = reinterpret_cast<void (*)(int64_t*)>(
      library == nullptr ? nullptr : dlsym(library, "millrace_recorded_ranges"));
  int64_t counts[4] = {};
  if (recorded != nullptr) recorded(counts);
  const char* names[] = {"host to device", "launch", "synchronize", "device to host"};
  for (int i = 0; i < 4; ++i) {
    tally->Note(counts[i] == runs, std::string("ranges \"") + names[i] +
                                       "\": " + std::to_string(counts[i]) + " in " +
                                       std::to_string(runs) + " runs");
  }
}

int Main(int argc, char** argv) {
  bool small = false;
  bool usage = argc < 2;
  const char* recorder = nullptr;
  for (int i = 2; i < argc; ++i) {
    if (strcmp(argv[i], "--small") == 0)
      small = true;
    else if (strcmp(argv[i], "--nvtx") == 0 && i + 1 < argc)
      recorder = argv[++i];
    else
      usage = true;
  }
  if (usage) {
    fprintf(stderr, "usage: gpu_check PLUGIN.so [--small] [--nvtx RECORDER.so]\n");
    return 2;
  }
  if (recorder != nullptr) setenv("NVTX_INJECTION64_PATH", recorder, 1);
  std::string fault;
  const DevicePlugin* plugin = LoadPlugin(argv[1], &fault);
  if (plugin == nullptr) {
    fprintf(stderr, "gpu_check: %s\n", fault.c_str());
    return 2;
  }
  DeviceInfo info = {};
  DeviceError error = {};
  const DeviceCode code = plugin->start(0, &info, &error);
  if (code != DeviceCode::kOk) {
    printf("no device to check on: %s\n", error.sentence);
    return 3;
  }
  printf("%s, compute capability %d.%d, driver %d, run-time %d\n", info.name, info.compute_major,
         info.compute_minor, info.driver_version, info.runtime_version);
  Checker checker(plugin, small);
  for (const Case& test : SmallCases()) checker.Run(test);
  if (!small) {
    for (const Case& test : LargeCases()) checker.Run(test);
  }
  if (recorder != nullptr) CheckRanges(recorder, checker.runs(), &checker.tally());
  printf("%d passed, %d failed\n", checker.tally().passed, checker.tally().failed);
  return checker.tally().failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
