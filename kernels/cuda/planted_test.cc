// Leaves out each barrier of the forest kernel in turn: the shim, or the comparison, must see it.
//
// The kernel is compiled into this file, with a __syncthreads() that can be told to do nothing, and
// a StoreRelease that looks whether the margins are there by then.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <string>
#include <vector>

#include "kernels/cuda/forest.h"
#include "kernels/cuda/primitives.cu.h"
#include "kernels/simt/cuda.h"

namespace {

struct Planted {
  std::set<int> sites;  // lines of barriers that were met
  int left_out = 0;
  bool early = false;  // `done` was stored before a margin was
};
Planted planted;

void PlantedBarrier(int line) {
  planted.sites.insert(line);
  if (line != planted.left_out) __syncthreads();
}

// The runner fills margins with 0xcd; no trial has a margin of these bytes. A word for each row is
// looked at.
void PlantedStore(const millrace::cuda::BatchView& batch, uint64_t* to, uint64_t value) {
  const auto* margins = static_cast<const uint32_t*>(batch.margins);
  for (uint32_t i = 0; i < batch.header->rows; ++i) {
    planted.early = planted.early || margins[i] == 0xcdcdcdcd;
  }
  millrace::cuda::StoreRelease(to, value);
}

}  // namespace

#define __syncthreads() PlantedBarrier(__LINE__)
#define StoreRelease(to, value) PlantedStore(batch, to, value)
#include "kernels/cuda/launch.cc"
#undef __syncthreads
#undef StoreRelease

#include "kernels/cuda/testing/forest_runner.h"
#include "kernels/simt/report.h"
#include "kernels/testing/forests.h"

namespace millrace::cuda {
namespace {

struct Trial {
  ForestSpec spec;
  ForcedRun run;
};

constexpr size_t kRows = 8;

std::vector<float> RowsOf(const Trial& trial) { return MakeRows(trial.spec, kRows, 0.1, 1); }

std::vector<Trial> Trials() {
  const ForestSpec spec = {.features = 5, .trees = 60, .depth = 3};
  ForestSpec linear = spec;
  linear.family = TreeFamily::kLightgbm;
  ForestSpec classes = spec;
  classes.groups = 3;
  return {{spec, {.rules = {.rows = 2, .threads = 64, .warp_rank = true}}},
          {linear, {.rules = {.rows = 4, .threads = 64, .staged_bytes = 512}}},
          {classes, {.rules = {.rows = 2, .threads = 64}}},
          {spec, {.rules = {.rows = 1, .threads = 64, .fast = true}}}};
}

// A report, other margins than without the fault, or `done` before its margins.
bool Shows(const Trial& trial, const std::vector<std::byte>& good, int left_out) {
  const std::vector<std::byte> image = MakeForest(trial.spec);
  planted.left_out = left_out;
  planted.early = false;
  simt::ReportCollector reports;
  const std::vector<std::byte> bad =
      RunForced(PlanView{image.data()}, RowsOf(trial), kRows, trial.run);
  return !reports.reports().empty() || bad != good || planted.early;
}

// In a process of its own, since a fault may well follow a poisoned pointer.
bool ShowsInAChild(const Trial& trial, const std::vector<std::byte>& good, int left_out) {
  const pid_t child = fork();
  if (child == 0) _exit(Shows(trial, good, left_out) ? 1 : 0);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

int TimesSeen(int left_out) {
  int seen = 0;
  for (const Trial& trial : Trials()) {
    const std::vector<std::byte> image = MakeForest(trial.spec);
    const std::vector<std::byte> good =
        RunForced(PlanView{image.data()}, RowsOf(trial), kRows, trial.run);
    for (uint64_t seed = 0; seed < 8; ++seed) {
      simt::Options options;
      options.seed = seed;
      simt::SetOptions(options);
      if (ShowsInAChild(trial, good, left_out)) ++seen;
    }
  }
  return seen;
}

TEST(PlantedFaults, AMissingBarrierIsSeen) {
  ASSERT_EQ(TimesSeen(-1), 0) << "nothing is left out";
  const std::set<int> sites = planted.sites;
  EXPECT_EQ(sites.size(), 7u);
  for (const int site : sites) {
    EXPECT_GT(TimesSeen(site), 0) << "the barrier in line " << site << " of tile.cu.h";
  }
}

}  // namespace
}  // namespace millrace::cuda
