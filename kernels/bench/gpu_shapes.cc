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

constexpr uint64_t kHostRowBytes = 64 * 1024;  // as the server asks of the plug-in
constexpr int kLaunches = 16;                  // of one graph

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

// A forest's memory on the device, for one batch after the other.
class Rig {
 public:
  Rig(const ForestSpec& spec, uint64_t most_rows)
      : image_(MakeForest(spec)),
        plan_{image_.data()},
        rows_(MakeRows(spec, most_rows, 0.05, 11)),
        expected_(most_rows * plan_.groups()) {
    reference::Margins(plan_, DataType::kFp32, rows_.data(), most_rows, expected_.data());
    int value = 0;
    MUST(cudaDeviceGetAttribute, (&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    limits_.shared_limit_bytes = static_cast<uint32_t>(value) - 1024;
    MUST(cudaDeviceGetAttribute, (&value, cudaDevAttrMultiProcessorCount, 0));
    limits_.multiprocessors = static_cast<uint32_t>(value);
    const size_t row_bytes = rows_.size() * sizeof(float);
    MUST(cudaStreamCreateWithFlags, (&stream_, cudaStreamNonBlocking));
    MUST(cudaHostAlloc, (&host_, kMarginsAt + 2 * row_bytes, cudaHostAllocMapped));
    MUST(cudaMalloc, (&device_rows_, row_bytes));
    MUST(cudaMalloc, (&ticket_, 256));
    if (g_failed) return;
    MUST(cudaHostGetDevicePointer, (&host_on_device_, host_, 0));
    memset(host_, 0, kMarginsAt);
    memcpy(host_ + kMarginsAt + row_bytes, rows_.data(), row_bytes);
    MUST(cudaMemcpy, (device_rows_, rows_.data(), row_bytes, cudaMemcpyHostToDevice));
    MUST(cudaMemset, (ticket_, 0, 256));
  }
  ~Rig() {
    cudaStreamSynchronize(stream_);
    cudaFree(ticket_);
    cudaFree(device_rows_);
    cudaFreeHost(host_);
    cudaStreamDestroy(stream_);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  std::vector<TileRules> Grid(uint64_t rows, bool quick, TileRules* chosen) const {
    const ForestImage image(plan_);
    *chosen = ChooseRules(image.facts(), limits_, rows, false);
    std::vector<TileRules> grid = {*chosen};
    for (uint32_t tile = 1; tile <= std::min<uint64_t>(kMaxTileRows, rows); tile *= 2) {
      for (uint32_t threads = quick ? 128 : 64; threads <= (quick ? 128 : kMaxTileThreads);
           threads *= 2) {
        for (const uint32_t passes : {1u, 2u, 4u}) {
          for (const uint32_t staged : {0u, 16u, 32u, 64u}) {
            for (const bool warp_rank : {false, true}) {
              if (quick && (passes > 1 || staged > 16)) continue;
              grid.push_back({.rows = tile,
                              .threads = threads,
                              .passes = passes,
                              .staged_bytes = staged * 1024,
                              .warp_rank = warp_rank});
            }
          }
        }
      }
    }
    return grid;
  }

  // Microseconds of one launch; 0 where the shape does not fit as it was asked for.
  double Time(const TileRules& rules, uint64_t rows) {
    ForestImage image(plan_);
    TileShape shape;
    if (!FitTile(image.facts(), rules, limits_.shared_limit_bytes, &shape)) return 0;
    if (shape.staged_nodes != rules.staged_bytes / 16 * 2 || !shape.shared_bytes_on) return 0;
    const ForestImage::Lists lists = image.AddLists(shape);
    std::byte* forest = nullptr;
    if (!MUST(cudaMalloc, (&forest, image.bytes().size()))) return 0;
    ForestImage::SetLists(forest, lists, &shape);
    MUST(cudaMemcpy, (forest, image.bytes().data(), image.bytes().size(), cudaMemcpyHostToDevice));
    const ForestKind kind = {.xgboost = true, .wide = plan_.wide()};
    MUST(AllowShape, (kind, shape, limits_.shared_limit_bytes));
    const double us = TimeLaunches(kind, image.ViewAt(forest), View(rows), shape, rows, rules);
    cudaFree(forest);
    return us;
  }

 private:
  static constexpr size_t kMarginsAt = 512;  // behind the header and `done`

  BatchView View(uint64_t rows) const {
    const size_t row_bytes = rows_.size() * sizeof(float);
    BatchView view = {};
    view.header = reinterpret_cast<const BatchHeader*>(host_on_device_);
    view.done = reinterpret_cast<uint64_t*>(host_on_device_ + 256);
    view.margins = host_on_device_ + kMarginsAt;
    view.ticket = ticket_;
    const bool from_host = rows * plan_.features() * sizeof(float) <= kHostRowBytes;
    view.rows = from_host ? reinterpret_cast<const float*>(host_on_device_ + kMarginsAt + row_bytes)
                          : device_rows_;
    return view;
  }

  double TimeLaunches(const ForestKind& kind, const ForestView& forest, const BatchView& batch,
                      const TileShape& shape, uint64_t rows, const TileRules& rules) {
    const auto blocks = static_cast<uint32_t>((rows + rules.rows - 1) >> shape.row_bits);
    auto* header = reinterpret_cast<BatchHeader*>(host_);
    header->sequence++;
    header->rows = static_cast<uint32_t>(rows);
    memset(host_ + kMarginsAt, 0xcd, rows * plan_.groups() * sizeof(float));
    MUST(LaunchForest, (kind, forest, batch, shape, blocks, stream_));
    MUST(cudaStreamSynchronize, (stream_));
    if (memcmp(host_ + kMarginsAt, expected_.data(), rows * plan_.groups() * sizeof(float)) != 0) {
      printf("WRONG  %s\n", Words(rules).c_str());
      g_failed = true;
    }
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    MUST(cudaStreamBeginCapture, (stream_, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < kLaunches; ++i) {
      MUST(LaunchForest, (kind, forest, batch, shape, blocks, stream_));
    }
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

  const std::vector<std::byte> image_;
  const PlanView plan_;
  const std::vector<float> rows_;
  std::vector<float> expected_;
  DeviceLimits limits_;
  cudaStream_t stream_ = nullptr;
  std::byte* host_ = nullptr;  // header, done, margins, rows
  std::byte* host_on_device_ = nullptr;
  float* device_rows_ = nullptr;
  uint32_t* ticket_ = nullptr;
};

void Sweep(const char* name, const ForestSpec& spec, const std::vector<uint64_t>& batches,
           bool quick, bool all) {
  Rig rig(spec, batches.back());
  for (const uint64_t rows : batches) {
    if (g_failed) return;
    TileRules chosen;
    std::vector<Timed> timed;
    for (const TileRules& rules : rig.Grid(rows, quick, &chosen)) {
      const double us = rig.Time(rules, rows);
      if (us > 0) timed.push_back({rules, us, timed.empty()});
    }
    if (timed.empty()) continue;
    const double own = timed.front().us;
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
  if (quick) {
    Sweep("100 trees of depth 4", small, {1, 4}, quick, all);
  } else {
    const std::vector<uint64_t> batches = {1, 16, 64, 256, 1024, 4096};
    Sweep("100 trees of depth 4", small, batches, quick, all);
    Sweep("500 trees of depth 6", middle, batches, quick, all);
    Sweep("1000 trees of 255 leaves", large, batches, quick, all);
  }
  return g_failed ? 1 : 0;
}

}  // namespace
}  // namespace millrace::cuda

int main(int argc, char** argv) { return millrace::cuda::Main(argc, argv); }
