// The death of a worker at every instruction around its work: what its page names must hold every
// request that can have killed it, until its result is published.
#include <stdio.h>

#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ipc/testing/must.h"
#include "ipc/testing/single_step.h"
#include "services/runtime/testing/lane_rig.h"
#include "services/runtime/worker.h"

namespace millrace {
namespace {

enum class Planted { kNone, kTouchFirst, kCountFirst, kDoneFirst };

// Batches of different sizes, so that names of an earlier one stand behind a smaller one's.
constexpr size_t kBatches[] = {3, 1, 2};
constexpr size_t kMostItems = 3;

struct Progress {
  std::atomic<uint32_t> incarnation, origin;
  std::atomic<uint64_t> batch[kMostItems];  // ids of the batch in hand; 0: none
  std::atomic<bool> touched[kMostItems];    // its input was touched
  std::atomic<bool> published[kMostItems];  // its result was published
};

// In the child: an ingress lane that asks, the worker that is stepped.
class WorkingChild {
 public:
  WorkingChild(Planted planted, Progress* progress) : planted_(planted), progress_(progress) {
    rig_.Link(ingress_, execution_);
    rig_.Link(execution_, ingress_);
    ingress_.lane.Poll();
    worker_.Poll();
    progress->incarnation = execution_.incarnation();
    progress->origin = ingress_.incarnation();
  }

  void Run(Markers* markers) {
    markers->Show(execution_.lane.memory().page.fd().get());
    markers->Meet();
    for (size_t count : kBatches) {
      std::vector<WorkItem> items = Ask(count);
      markers->Begin();
      Work(items);
      markers->End();
      ingress_.lane.Poll();
      worker_.Poll();
    }
    MR_CHECK(answers_.texts.size() + 1 == next_, "an answer is lost");
  }

 private:
  std::vector<WorkItem> Ask(size_t count) {
    for (size_t i = 0; i < count; ++i, ++next_) {
      const PartId id = {next_, 1, 0, 0};
      LedgerEntry entry;
      entry.deadline_ns = INT64_MAX - next_;
      ingress_.ledger->Open(id, entry);
      Message message;
      message.id = id.Pack();
      message.origin = ingress_.incarnation();
      message.deadline_ns = entry.deadline_ns;
      message.block = ingress_.Write(ForBlock("question"));
      MR_CHECK(ingress_.lane.Send(execution_.incarnation(), message), "no link");
      ingress_.lane.Release(message.block);
    }
    worker_.Poll();
    std::vector<WorkItem> items;
    while (std::optional<WorkItem> item = worker_.Pop()) items.push_back(*item);
    MR_CHECK(items.size() == count, "a question is lost");
    for (size_t i = 0; i < kMostItems; ++i) {
      progress_->touched[i] = progress_->published[i] = false;
      progress_->batch[i] = i < count ? items[i].message.id : 0;
    }
    return items;
  }

  void Work(const std::vector<WorkItem>& items) {
    if (planted_ == Planted::kTouchFirst) Touch(items);
    if (planted_ == Planted::kCountFirst) {
      worker_.page().executing_count = static_cast<uint32_t>(items.size());
    }
    worker_.Executing(items, 1000);
    if (planted_ != Planted::kTouchFirst) Touch(items);
    if (planted_ == Planted::kDoneFirst) worker_.Done();
    for (size_t i = 0; i < items.size(); ++i) {
      MaybeBlock block = worker_.Allocate(items[i], 40);
      MR_CHECK(block.has_value(), "no block for a result");
      for (int b = 0; b < 40; ++b) worker_.At(*block)[b] = std::byte{7};
      const Hop hop = {ingress_.incarnation(), 0, 0};
      worker_.Reply(items[i], {&hop, 1}, absl::OkStatus(), *block);
      progress_->published[i] = true;
    }
    if (planted_ != Planted::kDoneFirst) worker_.Done();
  }

  void Touch(const std::vector<WorkItem>& items) {
    for (size_t i = 0; i < items.size(); ++i) {
      progress_->touched[i] = true;
      const auto input = worker_.Input(items[i]);
      MR_CHECK(input.has_value() && (*input)[0] == std::byte{'q'}, "an input is not whole");
    }
  }

  Planted planted_;
  Progress* progress_;
  uint16_t next_ = 1;
  LaneRig rig_;
  TestLane& ingress_ = rig_.Add(Stage::kIngress);
  TestLane& execution_ = rig_.Add(Stage::kExecution);
  Recorder answers_{&ingress_.lane};
  Worker worker_{&execution_.lane};
};

// What an ingress lane finds in the dead one's page; "" if it is right.
std::string Look(const Page& page, const Progress& progress) {
  const uint32_t count = page.executing_count;
  if (count > kMaxExecuting) return "more names than there is room for";
  std::set<uint64_t> named;
  for (uint32_t i = 0; i < count; ++i) {
    if (page.executing_origin[i] != progress.origin) return "a name without its origin";
    named.insert(page.executing_id[i]);
  }
  std::set<uint64_t> batch;
  for (size_t i = 0; i < kMostItems; ++i) {
    const uint64_t id = progress.batch[i];
    if (id == 0) continue;
    batch.insert(id);
    if (progress.touched[i] && !progress.published[i] && named.count(id) == 0) {
      return "what is executed is not named";
    }
  }
  for (uint64_t id : named) {
    if (batch.count(id) == 0) return "a request is named that is not executed";
  }
  return "";
}

struct Result {
  uint64_t points = 0;
  uint64_t flagged = 0;
  std::string first;
};

Result StepThrough(Planted planted) {
  const SharedBox<Progress> progress;
  SteppedProcess worker(
      [&](Markers* markers) { WorkingChild(planted, progress.get()).Run(markers); });
  EXPECT_EQ(worker.Run(), Stop::kMeet);
  const Region page =
      Must(Region::Open(worker.Shown(0).get(), kPageType, progress->incarnation, sizeof(Page)));
  Result result;
  for (size_t batch = 0; batch < std::size(kBatches); ++batch) {
    EXPECT_EQ(worker.Run(), Stop::kBegin);
    result.points += worker.Step([&] {
      const std::string wrong = Look(*page.as<const Page>(), *progress.get());
      if (wrong.empty()) return;
      ++result.flagged;
      if (result.first.empty()) result.first = wrong;
    });
    EXPECT_EQ(worker.stop(), Stop::kEnd);
  }
  EXPECT_EQ(worker.Run(), Stop::kExited);
  return result;
}

TEST(WorkerStepTest, WhatIsExecutedIsNamedUntilItsResultIsPublished) {
  const Result result = StepThrough(Planted::kNone);
  EXPECT_EQ(result.first, "");
  EXPECT_GT(result.points, 100u);
  printf("executing, reply, done: %zu crash points\n", size_t{result.points});
  RecordProperty("crash_points", static_cast<int>(result.points));
}

TEST(WorkerStepFaultTest, AnInputTouchedBeforeItIsNamed) {
  const Result result = StepThrough(Planted::kTouchFirst);
  EXPECT_EQ(result.first, "what is executed is not named");
  EXPECT_LT(result.flagged, result.points);
}

TEST(WorkerStepFaultTest, TheCountBeforeTheNames) {
  EXPECT_EQ(StepThrough(Planted::kCountFirst).first, "a name without its origin");
}

TEST(WorkerStepFaultTest, DoneBeforeTheResult) {
  EXPECT_EQ(StepThrough(Planted::kDoneFirst).first, "what is executed is not named");
}

}  // namespace
}  // namespace millrace
