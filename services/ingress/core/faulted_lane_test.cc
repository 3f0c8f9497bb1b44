// Faults on purpose in an ingress lane, with a worker driven by hand.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "common/clock.h"
#include "services/ingress/core/testing/ingress_rig.h"

namespace millrace {
namespace {

class FaultedLaneTest : public ::testing::Test {
 protected:
  static Config Planned(const std::string& rules) {
    Config config;
    config.max_in_flight = 8;
    config.max_request_bytes = 64 << 10;
    config.fault_rules = rules;
    return config;
  }
  void Ask(IngressLane& lane, std::string_view id, std::string_view fault, Answer* answer,
           int64_t deadline_ns = 0) {
    const float value = 1;
    const int64_t shape[] = {1, 1};
    const TensorView input = {
        "input", DataType::kFp32, shape, {reinterpret_cast<const char*>(&value), sizeof value}};
    InferRequest request;
    request.model = "plain";
    request.inputs = {&input, 1};
    request.id = id;
    request.fault = fault;
    request.deadline_ns = deadline_ns;
    lane.Infer(request, answer);
  }
  // A lane of its own, with a worker.
  struct Planted {
    Planted(LaneRig& rig, const Config& config)
        : lane(rig.Add(Stage::kIngress, IngressArenaShape(config))),
          ingress(&lane.lane, lane.ledger.get(), config),
          execution(rig, lane, config) {
      auto catalog = std::make_shared<Catalog>();
      EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kRigCatalog, catalog.get()));
      ingress.SetCatalog(catalog);
      ingress.GoLive(1);
      ingress.Poll();
      execution.worker.Poll();
    }
    void Turn() {
      ingress.Poll();
      execution.AnswerAll();
      ingress.Poll();
    }
    TestLane& lane;
    IngressLane ingress;
    Execution execution;
  };

  LaneRig rig_;
};

TEST_F(FaultedLaneTest, ErrorsBefallWhomTheRuleNamesAndAsks) {
  Planted planted(rig_, Planned("- {stage: ingress, kind: error, header: e}\n"
                                "- {stage: ingress, kind: no_memory, header: m}\n"));
  Answer error, memory, none;
  Ask(planted.ingress, "", "e", &error);
  Ask(planted.ingress, "", "m", &memory);
  Ask(planted.ingress, "", "", &none);
  planted.Turn();
  EXPECT_EQ(error.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(memory.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(none.status.ok()) << none.status;
  EXPECT_EQ(none.times, 1);
  EXPECT_EQ(planted.lane.lane.page().Get(Counter::kInjected), 2u);
}

TEST_F(FaultedLaneTest, WhatIsLostExpiresAndNoMoreAreHeldThanTheRuleSays) {
  Planted planted(rig_, Planned("- {stage: ingress, kind: loss, max_active: 1}"));
  Answer lost, second;
  Ask(planted.ingress, "", "", &lost, MonotonicNanos() + 20 * kNanosPerMilli);
  Ask(planted.ingress, "", "", &second);
  planted.Turn();
  EXPECT_EQ(lost.times, 0);
  EXPECT_TRUE(second.status.ok()) << second.status;
  while (lost.times == 0) planted.Turn();
  EXPECT_EQ(lost.status.code(), absl::StatusCode::kDeadlineExceeded);
  planted.Turn();
  Answer third;  // there is room again
  Ask(planted.ingress, "", "", &third, MonotonicNanos() + 5 * kNanosPerMilli);
  while (third.times == 0) planted.Turn();
  EXPECT_EQ(third.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(planted.ingress.in_flight(), 0u);
}

TEST_F(FaultedLaneTest, ADelayedRequestIsSentLaterAndOnce) {
  Planted planted(rig_, Planned("- {stage: ingress, kind: delay, delay_ms: 5}"));
  Answer answer;
  Ask(planted.ingress, "", "", &answer);
  while (answer.times == 0) planted.Turn();
  planted.Turn();
  EXPECT_TRUE(answer.status.ok()) << answer.status;
  EXPECT_EQ(answer.times, 1);
}

// What a worker's plan chooses by reaches it through the ledger.
TEST_F(FaultedLaneTest, KeyAndNamesTravelToTheWorker) {
  Planted planted(rig_, Planned("- {stage: features, kind: loss, header: x}\n"
                                "- {stage: execution, kind: error, header: y}\n"));
  Answer first, second;
  Ask(planted.ingress, "id-1", "y", &first);
  Ask(planted.ingress, "id-1", "", &second);
  planted.execution.worker.Poll();
  std::vector<LedgerEntry> entries;
  while (auto item = planted.execution.worker.Pop()) {
    entries.push_back(item->entry);
    planted.execution.AnswerOne(*item);
  }
  planted.ingress.Poll();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_NE(entries[0].fault_key, 0u);
  EXPECT_EQ(entries[0].fault_key, entries[1].fault_key);
  EXPECT_EQ(entries[0].faults | entries[1].faults, 2u);
  EXPECT_NE(entries[0].faults, entries[1].faults);
}

}  // namespace
}  // namespace millrace
