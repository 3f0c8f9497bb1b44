// What each shape of a block costs on this device, beside the shape that the plug-in would choose.
//
//   gpu_shapes [--quick] [--all]
//
// For the forests of gpu_trees and several batches: the kernel's time in every shape of a grid, its
// rows where the plug-in would have them. Every shape's margins are compared with the reference
// before it is timed. Prints for each batch the shape chosen, the best ones, and how much is lost;
// --all: every shape. --quick: a few shapes of the smallest forest, for the SIMT shim.
// Exit codes: 0, 1 an output was wrong or a call failed, 2 usage, 3 no device.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "kernels/cuda/forest_image.h"
#include "kernels/cuda/launch.h"
#include "kernels/plan/plan_view.h"
#include "kernels/reference/evaluate.h"
#include "kernels/simt/cuda.h"
#include "kernels/testing/forests.h"

namespace millrace::cuda {
namespace {

constexpr uint64_t kHostRowBytes = 1024 * 1024;  // as the server asks of the plug-in
constexpr int kLaunches = 16;                    // of one graph

bool g_failed = false;

bool Must(cudaError_t answer, const char* call) {
  if (answer == cudaSuccess) return true;
  printf("FAILED  %s: %s\n", call, cudaGetErrorString(answer));
  g_failed = true;
  return false;
}
#define MUST(call, arguments) Must(call arguments, #call)

struct Timed {
  TileRules rules;
  double us = 0;
  bool chosen = false;
};

std::string Words(const TileRules& r) {
  char text[128];
  snprintf(text, sizeof text, "rows %2u, threads %3u, passes %u, staged %2u KiB, rank by %s",
           r.rows, r.threads, r.passes, r.staged_bytes / 1024, r.warp_rank ? "warps" : "threads");
  return text;
}

// A shape that fits the device as it was asked for.
struct Candidate {
  TileRules rules;
  TileShape shape;
  ForestImage::Lists lists;
};

// A forest on the device, for one batch after the other.
class Rig {
 public:
  Rig(const ForestSpec& spec, uint64_t most_rows)
      : plan_bytes_(MakeForest(spec)),
        plan_{plan_bytes_.data()},
        image_(plan_),
        row_bytes_(plan_.features() * sizeof(float)),
        margin_bytes_(plan_.groups() * DataTypeSize(plan_.margin_type())),
        rows_(MakeRows(spec, most_rows, 0.05, 11)),
        expected_(most_rows * margin_bytes_) {
    reference::Margins(plan_, DataType::kFp32, rows_.data(), most_rows, expected_.data());
    int value = 0;
    MUST(cudaDeviceGetAttribute, (&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    limits_.shared_limit_bytes = static_cast<uint32_t>(value) - 1024;
    MUST(cudaDeviceGetAttribute, (&value, cudaDevAttrMultiProcessorCount, 0));
    limits_.multiprocessors = static_cast<uint32_t>(value);
    rows_at_ = (kMarginsAt + most_rows * margin_bytes_ + 255) / 256 * 256;
    const size_t all_bytes = rows_.size() * sizeof(float);
    MUST(cudaStreamCreateWithFlags, (&stream_, cudaStreamNonBlocking));
    MUST(cudaHostAlloc, (&host_, rows_at_ + all_bytes, cudaHostAllocMapped));
    MUST(cudaMalloc, (&device_rows_, all_bytes));
    MUST(cudaMalloc, (&ticket_, 256));
    if (g_failed) return;
    MUST(cudaHostGetDevicePointer, (&host_on_device_, host_, 0));
    memset(host_, 0, kMarginsAt);
    memcpy(host_ + rows_at_, rows_.data(), all_bytes);
    MUST(cudaMemcpy, (device_rows_, rows_.data(), all_bytes, cudaMemcpyHostToDevice));
    MUST(cudaMemset, (ticket_, 0, 256));
  }
  ~Rig() {
    cudaStreamSynchronize(stream_);
    cudaFree(forest_);
    cudaFree(ticket_);
    cudaFree(device_rows_);
    cudaFreeHost(host_);
    cudaStreamDestroy(stream_);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  // The plug-in's own choice for so many rows, then the grid; with their lists on the device.
  std::vector<Candidate> Candidates(uint64_t rows, bool quick) {
    std::vector<Candidate> all;
    const auto add = [&](const TileRules& rules) {
      Candidate one = {rules, {}, {}};
      if (!FitTile(image_.facts(), rules, limits_.shared_limit_bytes, &one.shape)) return;
      if (one.shape.staged_nodes != rules.staged_bytes / 16 * 2 || !one.shape.shared_bytes_on) {
        return;
      }
      one.lists = image_.AddLists(one.shape);
      all.push_back(one);
    };
    add(ChooseRules(image_.facts(), limits_, rows, false));
    const uint32_t most_tile = static_cast<uint32_t>(std::min<uint64_t>(kMaxTileRows, rows));
    for (uint32_t tile = 1; tile <= most_tile; tile *= 2) {
      for (uint32_t threads = 128; threads <= (quick ? 128 : kMaxTileThreads); threads *= 2) {
        for (const uint32_t passes : {1u, 4u}) {
          for (const uint32_t staged : {0u, 16u}) {
            for (const bool warp_rank : {false, true}) {
              if (quick && (passes > 1 || staged > 16)) continue;
              add({.rows = tile,
                   .threads = threads,
                   .passes = passes,
                   .staged_bytes = staged * 1024,
                   .warp_rank = warp_rank});
            }
          }
        }
      }
    }
    Upload(&all);
    return all;
  }

  // Microseconds of one launch; 0 where something failed.
  double Time(const Candidate& one, uint64_t rows) {
    const ForestKind kind = {.xgboost = plan_.family() == TreeFamily::kXgboost,
                             .wide = plan_.wide()};
    MUST(AllowShape, (kind, one.shape, limits_.shared_limit_bytes));
    const ForestView forest = image_.ViewAt(forest_);
    const BatchView batch = View(rows);
    const auto blocks = static_cast<uint32_t>((rows + one.rules.rows - 1) >> one.shape.row_bits);
    auto* header = reinterpret_cast<BatchHeader*>(host_);
    header->sequence++;
    header->rows = static_cast<uint32_t>(rows);
    memset(host_ + kMarginsAt, 0xcd, rows * margin_bytes_);
    MUST(LaunchForest, (kind, forest, batch, one.shape, blocks, stream_));
    MUST(cudaStreamSynchronize, (stream_));
    if (memcmp(host_ + kMarginsAt, expected_.data(), rows * margin_bytes_) != 0) {
      printf("WRONG  %s\n", Words(one.rules).c_str());
      g_failed = true;
    }
    return TimeGraph(
        [&] { MUST(LaunchForest, (kind, forest, batch, one.shape, blocks, stream_)); });
  }

 private:
  static constexpr size_t kMarginsAt = 512;  // behind the header and `done`

  void Upload(std::vector<Candidate>* all) {
    const std::span<const std::byte> bytes = image_.bytes();
    cudaFree(forest_);
    forest_ = nullptr;
    if (!MUST(cudaMalloc, (&forest_, bytes.size()))) return;
    MUST(cudaMemcpy, (forest_, bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
    for (Candidate& one : *all) ForestImage::SetLists(forest_, one.lists, &one.shape);
  }

  BatchView View(uint64_t rows) const {
    BatchView view = {};
    view.header = reinterpret_cast<const BatchHeader*>(host_on_device_);
    view.done = reinterpret_cast<uint64_t*>(host_on_device_ + 256);
    view.margins = host_on_device_ + kMarginsAt;
    view.ticket = ticket_;
    view.rows = rows * row_bytes_ <= kHostRowBytes
                    ? reinterpret_cast<const float*>(host_on_device_ + rows_at_)
                    : device_rows_;
    return view;
  }

  double TimeGraph(const std::function<void()>& launch) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    MUST(cudaStreamBeginCapture, (stream_, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < kLaunches; ++i) launch();
    MUST(cudaStreamEndCapture, (stream_, &graph));
    if (g_failed || !MUST(cudaGraphInstantiate, (&executable, graph, 0))) return 0;
    std::vector<int64_t> times;
    for (int i = 0; i < 6 && !g_failed; ++i) {
      const int64_t begin = MonotonicNanos();
      MUST(cudaGraphLaunch, (executable, stream_));
      MUST(cudaStreamSynchronize, (stream_));
      if (i > 0) times.push_back(MonotonicNanos() - begin);
    }
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    if (g_failed) return 0;
    std::sort(times.begin(), times.end());
    return static_cast<double>(times[times.size() / 2]) * 1e-3 / kLaunches;
  }

  const std::vector<std::byte> plan_bytes_;
  const PlanView plan_;
  ForestImage image_;
  const size_t row_bytes_;
  const size_t margin_bytes_;  // of a row
  const std::vector<float> rows_;
  std::vector<std::byte> expected_;
  DeviceLimits limits_;
  size_t rows_at_ = 0;
  cudaStream_t stream_ = nullptr;
  std::byte* host_ = nullptr;  // header, done, margins, rows
  std::byte* host_on_device_ = nullptr;
  std::byte* forest_ = nullptr;
  float* device_rows_ = nullptr;
  uint32_t* ticket_ = nullptr;
};

void Sweep(const char* name, const ForestSpec& spec, const std::vector<uint64_t>& batches,
           bool quick, bool all) {
  Rig rig(spec, batches.back());
  for (const uint64_t rows : batches) {
    if (g_failed) return;
    std::vector<Timed> timed;
    for (const Candidate& one : rig.Candidates(rows, quick)) {
      const double us = rig.Time(one, rows);
      if (us > 0) timed.push_back({one.rules, us, timed.empty()});
    }
    if (timed.empty()) continue;
    const double own = timed.front().us;
    const TileRules chosen = timed.front().rules;
    std::sort(timed.begin(), timed.end(),
              [](const Timed& a, const Timed& b) { return a.us < b.us; });
    printf("%s, batch %llu: chosen %.2f us (%s), %.2f x the best of %zu\n", name,
           static_cast<unsigned long long>(rows), own, Words(chosen).c_str(), own / timed[0].us,
           timed.size());
    const size_t shown = all ? timed.size() : std::min<size_t>(4, timed.size());
    for (size_t i = 0; i < shown; ++i) {
      printf("    %8.2f us  %s%s\n", timed[i].us, Words(timed[i].rules).c_str(),
             timed[i].chosen ? "  chosen" : "");
    }
    fflush(stdout);
  }
}

int Main(int argc, char** argv) {
  bool quick = false;
  bool all = false;
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "--quick") == 0)
      quick = true;
    else if (strcmp(argv[i], "--all") == 0)
      all = true;
    else {
      fprintf(stderr, "usage: gpu_shapes [--quick] [--all]\n");
      return 2;
    }
  }
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    printf("no device to measure on\n");
    return 3;
  }
  MUST(cudaSetDevice, (0));
  const ForestSpec small = {.features = 64, .trees = 100, .depth = 4, .edges = 250};
  const ForestSpec middle = {.features = 64, .trees = 500, .depth = 6, .edges = 250};
  const ForestSpec large = {
      .features = 64, .trees = 1000, .depth = 12, .leaves = 255, .edges = 600};
  const ForestSpec few = {.features = 6, .trees = 300, .depth = 6, .edges = 4000};
  const ForestSpec classes = {.family = TreeFamily::kLightgbm,
                              .features = 64,
                              .groups = 10,
                              .trees = 600,
                              .depth = 8,
                              .leaves = 31};
  if (quick) {
    Sweep("100 trees of depth 4", small, {1, 4}, quick, all);
  } else {
    const std::vector<uint64_t> batches = {1, 16, 64, 256, 1024, 4096};
    Sweep("LightGBM, 10 classes, 600 trees", classes, batches, quick, all);
    Sweep("300 trees, 6 features of 4000 edges", few, batches, quick, all);
    Sweep("100 trees of depth 4", small, batches, quick, all);
    Sweep("500 trees of depth 6", middle, batches, quick, all);
    Sweep("1000 trees of 255 leaves", large, batches, quick, all);
  }
  return g_failed ? 1 : 0;
}

}  // namespace
}  // namespace millrace::cuda

int main(int argc, char** argv) { return millrace::cuda::Main(argc, argv); }
