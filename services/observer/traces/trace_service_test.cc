// The observer's look at the rings.
#include "services/observer/traces/trace_service.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ipc/trace_records.h"

namespace millrace {
namespace {

constexpr uint32_t kIngress = 7;

class TraceServiceTest : public ::testing::Test {
 protected:
  TraceServiceTest() : service_(&pages_) { Name({kIngress}); }

  void Name(std::vector<uint32_t> incarnations) {
    ObserveTraces message;
    std::vector<Fd> fds;
    for (const uint32_t incarnation : incarnations) {
      LaneName* name = message.add_lanes();
      name->set_incarnation(incarnation);
      name->set_stage(static_cast<uint32_t>(Stage::kIngress));
      fds.push_back(ring_.region().fd().Duplicate());
    }
    service_.Observe(message, fds);
  }
  void Write(int64_t written_ns) {
    RequestRecord record;
    record.trace = {1, ++spans_};
    record.span = spans_;
    record.entered_ns = record.accepted_ns = written_ns - 1'000;
    record.answered_ns = record.written_ns = written_ns;
    record.why = kWhyFailed;
    ring_.Write(record);
  }
  size_t Shown() { return nlohmann::json::parse(*service_.Json(""))["kept"].size(); }

  PageSet pages_;
  TraceWriter ring_ = *TraceWriter::Create(kIngress, 16, kRequestRecordWords);
  TraceService service_;
  uint64_t spans_ = 0;
};

TEST_F(TraceServiceTest, ShowsEachRequestOnceAfterItsHold) {
  const int64_t now = MonotonicNanos();
  Write(now);
  service_.Look(now + TraceService::kHoldNs - 1);
  EXPECT_EQ(Shown(), 0u);
  service_.Look(now + TraceService::kHoldNs);
  EXPECT_EQ(Shown(), 1u);
  service_.Look(now + 2 * TraceService::kHoldNs);
  EXPECT_EQ(Shown(), 1u);
  EXPECT_EQ(service_.Tally().kept, 1u);
  EXPECT_FALSE(service_.Json("why=nothing").has_value());
}

TEST_F(TraceServiceTest, CountsWhatWasOverwrittenOrSkipped) {
  const int64_t now = MonotonicNanos();
  Write(now);
  service_.Look(now);
  for (int i = 0; i < 20; ++i) Write(now);
  ring_.Skip();
  service_.Look(now + TraceService::kHoldNs);
  EXPECT_EQ(service_.Tally().lost, 4u + 1u);
  EXPECT_EQ(service_.Tally().kept, 17u);
}

TEST_F(TraceServiceTest, WhatEndedBeforeItsStartWasAnothersToRead) {
  Write(1'000'000);
  const int64_t now = MonotonicNanos();
  Write(now);
  service_.Look(now + TraceService::kHoldNs);
  EXPECT_EQ(Shown(), 1u);
}

TEST_F(TraceServiceTest, TheRingOfALaneThatEndedIsReadForAWhile) {
  const int64_t now = MonotonicNanos();
  service_.Look(now);
  Write(now);
  Name({});
  service_.Look(now + TraceService::kHoldNs);
  EXPECT_EQ(Shown(), 1u);
  service_.Look(now + 2 * TraceSources::kKeepNs);
  Write(MonotonicNanos());
  service_.Look(MonotonicNanos() + 2 * TraceSources::kKeepNs);
  EXPECT_EQ(Shown(), 1u);
}

TEST_F(TraceServiceTest, ALaneThatWritesNonsenseIsCountedAndNoMore) {
  RequestRecord record;
  record.trace = {1, 1};
  record.span = 1;
  record.entered_ns = INT64_MIN;
  record.written_ns = INT64_MAX;
  ring_.Write(record);
  record.entered_ns = 1;
  ring_.Write(record);
  service_.Look(MonotonicNanos());
  EXPECT_EQ(service_.Tally().lost, 2u);
}

}  // namespace
}  // namespace millrace
