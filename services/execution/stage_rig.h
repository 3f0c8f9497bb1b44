// An execution stage between an ingress lane and itself, driven by hand, with a kernel that tells
// what it was given.
//
// Purpose: the tests of the stage. Who may call: one thread of a test. Ownership: owns everything.
// Invariants: 1. an answer is compared with the reference's for its request alone, so that a batch
//   which changes a bit fails. What fails: set-up ends the process.
#pragma once

#include <string.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "gtest/gtest.h"
#include "ipc/testing/must.h"
#include "kernels/plan/sample_plans.h"
#include "services/execution/execution_stage.h"
#include "services/runtime/testing/lane_rig.h"

namespace millrace {

// The reference; remembers the batches it ran. `on_run` is called before each.
class Watching : public KernelBackend {
 public:
  struct Ran {
    size_t pieces, rows;
  };
  std::string_view name() const override { return "watching"; }
  absl::StatusOr<std::unique_ptr<Kernel>> OpenPlan(absl::Span<const std::byte> plan) const override;

  mutable std::vector<Ran> runs;
  mutable int opened = 0;
  mutable std::atomic<int> living = 0;  // kernels
  std::function<void()> on_run;
};

class WatchedKernel : public Kernel {
 public:
  WatchedKernel(const Watching* to, std::unique_ptr<Kernel> reference)
      : to_(to), reference_(std::move(reference)) {
    ++to_->living;
  }
  ~WatchedKernel() override { --to_->living; }
  const KernelShape& shape() const override { return reference_->shape(); }
  size_t ScratchBytes(size_t rows) const override { return reference_->ScratchBytes(rows); }
  absl::Status Run(const KernelBatch& batch) const override {
    to_->runs.push_back({batch.pieces.size(), batch.rows()});
    if (to_->on_run) to_->on_run();
    return reference_->Run(batch);
  }

 private:
  const Watching* to_;
  std::unique_ptr<Kernel> reference_;
};

inline absl::StatusOr<std::unique_ptr<Kernel>> Watching::OpenPlan(
    absl::Span<const std::byte> plan) const {
  auto reference = ReferenceBackend().OpenPlan(plan);
  if (!reference.ok()) return reference.status();
  ++opened;
  return std::make_unique<WatchedKernel>(this, std::move(*reference));
}

inline std::vector<std::byte> SampleNamed(const std::string& name) {
  for (SamplePlan& sample : SamplePlans()) {
    if (sample.name == name) return sample.image;
  }
  abort();
}

class StageTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kRequestRows = 32;
  static constexpr uint16_t kRoute = 12, kOtherRoute = 13;

  StageTest() {
    cpu_.runs.reserve(4096);
    rig_.Link(ingress_, execution_);
    rig_.Link(execution_, ingress_);
    ingress_.lane.Poll();
    worker_.Poll();
    answers_.messages.reserve(4096);
    answers_.texts.reserve(4096);
  }

  // Starts the stage and lets it take up a catalog of the routes given with their plans.
  absl::Status StartStage(const std::map<uint32_t, std::vector<std::byte>>& plans) {
    absl::Status started = stage_.Start(
        {worker_, config_, without_device_, [this](FromProcess m) { told_.push_back(m); }});
    if (!started.ok()) return started;
    return TakeUp(plans);
  }
  absl::Status TakeUp(const std::map<uint32_t, std::vector<std::byte>>& plans) {
    auto catalog = std::make_shared<Catalog>();
    catalog->set_generation(++generation_);
    CatalogWithPlans with_plans;
    for (const auto& [route, image] : plans) {
      Model* model = catalog->add_models();
      model->set_name("model" + std::to_string(route));
      model->set_route(route);
      model->set_max_rows(kRequestRows);
      if (golden_.has_value()) *model->add_golden() = *golden_;
      OutputSpec* margin = model->add_outputs();
      margin->set_kind(MARGIN);
      margin->mutable_tensor()->set_name("margin");
      with_plans.plans[route] = Must(MakeSealedCopy("plan", image.data(), image.size()));
      reference_[route] =
          Must(ReferenceBackend().OpenPlan({images_.emplace_back(image).data(), image.size()}));
    }
    with_plans.catalog = catalog;
    auto use = stage_.Prepare(std::move(with_plans));
    if (use.ok()) (*use)();
    return use.status();
  }

  // The newest catalog is settled: by the control thread, while the lane goes on.
  void Settle() {
    std::atomic<bool> done = false;
    std::thread control([&] {
      stage_.Settled(generation_);
      done = true;
    });
    while (!done) worker_.Poll();
    control.join();
  }

  // A request of random rows. `type`: of its input.
  void Ask(uint16_t slot, size_t rows, uint16_t route = kRoute, uint8_t flags = 0,
           DataType type = DataType::kFp32) {
    const KernelShape& shape = reference_.at(route)->shape();
    Asked& asked = asked_[slot];
    asked = {route, rows, type, std::vector<std::byte>(rows * shape.features * DataTypeSize(type))};
    for (size_t i = 0; i < rows * shape.features; ++i) {
      const double value = static_cast<int>(random_() % 200) - 60;
      const auto narrow = static_cast<float>(value);
      if (type == DataType::kFp32) memcpy(&asked.input[4 * i], &narrow, 4);
      if (type == DataType::kFp64) memcpy(&asked.input[8 * i], &value, 8);
    }
    PackWriter pack(static_cast<uint32_t>(rows));
    pack.Add(0, type, shape.features, asked.input.size());
    std::string bytes(pack.bytes(), 0);
    pack.Place(reinterpret_cast<std::byte*>(bytes.data()));
    memcpy(pack.Data(0), asked.input.data(), asked.input.size());
    Send(slot, bytes, route, flags, MessageKind::kData);
  }
  void Send(uint16_t slot, const std::string& bytes, uint16_t route, uint8_t flags,
            MessageKind kind) {
    const PartId id = {slot, 1, 0, 0};
    LedgerEntry entry;
    entry.deadline_ns = INT64_MAX - 100'000 + slot;  // in the order of the slots
    entry.route = route;
    entry.outputs = 1u << PREDICTION | 1u << MARGIN;
    ingress_.ledger->Open(id, entry);
    Message message;
    message.kind = kind;
    message.code = kind == MessageKind::kError ? 5 : 0;
    message.flags = flags;
    message.route = route;
    message.id = id.Pack();
    message.origin = ingress_.incarnation();
    message.deadline_ns = entry.deadline_ns;
    message.published_ticks = PublishedTicks(MonotonicNanos());
    message.block = ingress_.Write(bytes, slot);
    EXPECT_TRUE(ingress_.lane.Send(execution_.incarnation(), message));
    ingress_.lane.Release(message.block);
  }

  // Works until nothing is left; every answer that came is compared.
  void Serve() {
    worker_.Poll();
    while (stage_.Work(worker_) > 0) worker_.Poll();
    Collect();
  }
  void Collect() {
    answers_.messages.clear();
    answers_.texts.clear();
    for (size_t before = SIZE_MAX; before != answers_.messages.size();) {
      before = answers_.messages.size();
      ingress_.lane.Poll();
    }
    for (size_t i = 0; i < answers_.messages.size(); ++i) {
      const Message& message = answers_.messages[i];
      const uint16_t slot = PartId::Unpack(message.id).slot;
      if (message.kind == MessageKind::kError) {
        errors_[slot] = {message.code, answers_.texts[i]};
      } else {
        Compare(slot, answers_.texts[i]);
      }
    }
    worker_.Poll();
  }
  void Compare(uint16_t slot, const std::string& text) {
    const Asked& asked = asked_.at(slot);
    const Kernel& kernel = *reference_.at(asked.route);
    const KernelShape& shape = kernel.shape();
    auto pack = PackView::Open({reinterpret_cast<const std::byte*>(text.data()), text.size()});
    ASSERT_TRUE(pack.ok()) << pack.status();
    ASSERT_EQ(pack->rows(), asked.rows);
    std::vector<std::byte> margins(asked.rows * shape.groups * DataTypeSize(shape.margin_type));
    std::vector<std::byte> predictions(asked.rows * shape.prediction_columns *
                                       DataTypeSize(shape.prediction_type));
    std::vector<std::byte> scratch(kernel.ScratchBytes(asked.rows) + 64);
    const KernelPiece piece = {asked.input.data(), asked.rows, margins.data(), predictions.data()};
    ASSERT_TRUE(kernel.Run({asked.type, {&piece, 1}, absl::MakeSpan(scratch)}).ok());
    const auto margin = pack->tensor(pack->Find(MARGIN)).data;
    const auto prediction = pack->tensor(pack->Find(PREDICTION)).data;
    EXPECT_EQ(std::vector<std::byte>(margin.begin(), margin.end()), margins) << slot;
    EXPECT_EQ(std::vector<std::byte>(prediction.begin(), prediction.end()), predictions) << slot;
    answered_.push_back(slot);
  }
  uint64_t Count(Counter c) { return execution_.lane.page().Get(c); }

  struct Asked {
    uint16_t route;
    size_t rows;
    DataType type;
    std::vector<std::byte> input;
  };

  std::minstd_rand random_{7};
  LaneRig rig_;
  TestLane& ingress_ = rig_.Add(Stage::kIngress);
  TestLane& execution_ = rig_.Add(Stage::kExecution);
  Recorder answers_{&ingress_.lane};
  Worker worker_{&execution_.lane};
  Watching cpu_;
  Config config_;
  bool without_device_ = false;
  uint64_t generation_ = 0;
  std::optional<Golden> golden_;  // of every model that is taken up next
  ExecutionStage stage_{&cpu_};
  std::vector<FromProcess> told_;
  std::deque<std::vector<std::byte>> images_;
  std::map<uint32_t, std::unique_ptr<Kernel>> reference_;
  std::map<uint16_t, Asked> asked_;
  std::vector<uint16_t> answered_;                              // right, in order
  std::map<uint16_t, std::pair<uint8_t, std::string>> errors_;  // code, sentence
};

}  // namespace millrace
