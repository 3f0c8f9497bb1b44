// An ingress lane with one model, and execution workers whose model adds one; driven by hand.
//
// Purpose: tests of the lane on one thread. Who may call: one thread of a test. Ownership: owns all
//   of it but the workers. Invariants: 1. nothing happens but what the test polls. What fails:
//   set-up ends the process.
#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <string.h>

#include <memory>
#include <string>

#include "ipc/window.h"
#include "services/ingress/core/ingress_lane.h"
#include "services/runtime/testing/lane_rig.h"
#include "services/runtime/worker.h"

namespace millrace {

inline constexpr char kRigCatalog[] = R"(
  generation: 1
  models {
    name: "plain" version: "7" route: 12 max_rows: 4 latest: true
    inputs { name: "input" datatype: 11 dims: 1 }
    outputs { tensor { name: "prediction" datatype: 11 dims: 1 } kind: PREDICTION }
    prediction_columns: 1 margin_columns: 1
  }
)";

struct Answer : Completion {
  void Done(const InferAnswer& answer) override {
    ++times;
    status = answer.status;
    if (!status.ok()) return;
    ASSERT_EQ(answer.outputs.size(), 1u);
    memcpy(&value, answer.outputs[0].raw.data(), sizeof value);
  }
  int times = 0;
  absl::Status status;
  float value = 0;
};

// An execution worker whose model adds one.
struct Execution {
  Execution(LaneRig& rig, TestLane& ingress, const Config& config)
      : lane(rig.Add(Stage::kExecution, WorkerArenaShape(config))), worker(&lane.lane) {
    rig.Link(ingress, lane);
    rig.Link(lane, ingress);
    worker.Poll();
  }
  void AnswerAll() {
    worker.Poll();
    while (auto item = worker.Pop()) AnswerOne(*item);
  }
  void AnswerOne(const WorkItem& item) {
    auto pack = PackView::Open(*worker.Input(item));
    ASSERT_TRUE(pack.ok());
    float value;
    memcpy(&value, pack->tensor(0).data.data(), sizeof value);
    value += 1;
    PackWriter out(1);
    out.Add(PREDICTION, DataType::kFp32, 1, sizeof value);
    BlockRef block = *worker.Allocate(item, out.bytes());
    out.Place(worker.At(block));
    memcpy(out.Data(0), &value, sizeof value);
    const Hop hop = {item.message.origin, 0, item.message.route};
    worker.Reply(item, {&hop, 1}, absl::OkStatus(), block);
  }
  TestLane& lane;
  Worker worker;
};

class IngressRigTest : public ::testing::Test {
 protected:
  explicit IngressRigTest(int64_t max_in_flight = 8)
      : config_(SmallConfig(max_in_flight)),
        ingress_(rig_.Add(Stage::kIngress, IngressArenaShape(config_))),
        lane_(&ingress_.lane, ingress_.ledger.get(), config_) {
    auto catalog = std::make_shared<Catalog>();
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kRigCatalog, catalog.get()));
    lane_.SetCatalog(catalog);
    lane_.GoLive(1);
    lane_.Poll();
  }
  static Config SmallConfig(int64_t max_in_flight) {
    Config config;
    config.max_in_flight = max_in_flight;
    config.max_request_bytes = 64 << 10;
    return config;
  }
  std::unique_ptr<Execution> AddExecution() {
    auto execution = std::make_unique<Execution>(rig_, ingress_, config_);
    lane_.Poll();
    return execution;
  }
  RequestId Infer(float value, Answer* answer, int64_t deadline_ns = 0, uint32_t priority = 0) {
    const int64_t shape[] = {1, 1};
    const TensorView input = {
        "input", DataType::kFp32, shape, {reinterpret_cast<const char*>(&value), sizeof value}};
    InferRequest request;
    request.model = "plain";
    request.inputs = {&input, 1};
    request.deadline_ns = deadline_ns;
    request.priority = priority;
    return lane_.Infer(request, answer);
  }
  uint64_t Count(Counter counter) { return ingress_.lane.page().Get(counter); }
  // Rounds of everybody, until every unit is given back.
  void Settle(std::initializer_list<Execution*> workers) {
    for (int round = 0; round < 100; ++round) {
      lane_.Poll();
      for (Execution* w : workers) w->AnswerAll();
    }
    EXPECT_EQ(Count(Counter::kLimbo), 0u);
    EXPECT_EQ(Count(Counter::kInFlight), 0u);
    EXPECT_EQ(ingress_.lane.arena().taken(), 0u);
  }

  const Config config_;
  LaneRig rig_;
  TestLane& ingress_;
  IngressLane lane_;
};

}  // namespace millrace
