#include "services/supervisor/stats_carry.h"

#include <gtest/gtest.h>

#include <memory>

namespace millrace {
namespace {

std::unique_ptr<Page> MakePage() { return std::make_unique<Page>(); }

uint64_t CodeOf(const StatsSums& sums, const std::string& model, size_t code) {
  for (const ModelSums& one : sums.models()) {
    if (one.model() == model) return one.words(static_cast<int>(StatsCodeAt(code)));
  }
  return 0;
}

TEST(StatsCarry, AddsWhatPagesCountedAndLeavesGaugesOut) {
  StatsCarry carry;
  EXPECT_EQ(carry.version(), 0u);
  for (uint32_t incarnation : {1, 2}) {
    auto page = MakePage();
    StatsWriter writer(&page->stats);
    writer.Name(3, "m", "1");
    writer.Of(3).Code(0);
    page->Add(Counter::kTaken, 10);
    page->Set(Counter::kQueueDepth, 99);
    EXPECT_TRUE(carry.Add(Stage::kFeatures, 0, incarnation, *page));
  }
  carry.CountEnd(Stage::kFeatures, 0);
  const StatsSums sums = carry.Snapshot();
  ASSERT_EQ(sums.processes_size(), 1);
  EXPECT_EQ(sums.processes(0).counters(static_cast<int>(Counter::kTaken)), 20u);
  EXPECT_EQ(sums.processes(0).counters(static_cast<int>(Counter::kQueueDepth)), 0u);
  EXPECT_EQ(sums.processes(0).ends(), 1u);
  EXPECT_EQ(CodeOf(sums, "m", 0), 2u);
}

TEST(StatsCarry, AnIncarnationIsAddedOnceAlsoByTheNextSupervisor) {
  auto page = MakePage();
  page->Add(Counter::kTaken, 10);
  StatsCarry carry;
  EXPECT_TRUE(carry.Add(Stage::kIngress, 0, 7, *page));
  EXPECT_FALSE(carry.Add(Stage::kIngress, 0, 7, *page));
  StatsCarry next;
  next.GoOnFrom(carry.Snapshot());
  EXPECT_FALSE(next.Add(Stage::kIngress, 0, 7, *page));
  EXPECT_TRUE(next.Add(Stage::kIngress, 0, 8, *page));
  EXPECT_EQ(next.Snapshot().processes(0).counters(static_cast<int>(Counter::kTaken)), 20u);
}

TEST(StatsCarry, SumsOfAnotherLayoutAreNotTaken) {
  StatsCarry carry;
  carry.CountEnd(Stage::kIngress, 0);
  StatsSums sums = carry.Snapshot();
  sums.set_layout(sums.layout() + 1);
  StatsCarry next;
  next.GoOnFrom(sums);
  EXPECT_EQ(next.version(), 0u);
  EXPECT_EQ(next.Snapshot().processes_size(), 0);
}

TEST(StatsCarry, ModelsWithoutEndAreSummedUpWithoutAName) {
  StatsCarry carry;
  uint64_t named = 0, unnamed = 0;
  for (uint32_t incarnation = 1; incarnation <= 10; ++incarnation) {
    auto page = MakePage();
    StatsWriter writer(&page->stats);
    for (uint32_t i = 1; i < kMaxStatsModels; ++i) {
      writer.Name(i, "m" + std::to_string(incarnation * 1000 + i), "1");
      writer.Of(static_cast<uint16_t>(i)).Code(0);
    }
    carry.Add(Stage::kExecution, 0, incarnation, *page);
  }
  const StatsSums sums = carry.Snapshot();
  EXPECT_LE(sums.models_size(), static_cast<int>(StatsCarry::kMaxModels) + 1);
  for (const ModelSums& one : sums.models())
    (one.model().empty() ? unnamed : named) += one.words(0);
  EXPECT_EQ(named + unnamed, 10u * (kMaxStatsModels - 1));
  EXPECT_GT(unnamed, 0u);
}

TEST(StatsCarry, WhatAHostilePageHoldsIsBounded) {
  auto page = MakePage();
  auto* raw = reinterpret_cast<unsigned char*>(&page->stats);
  for (size_t i = 0; i < sizeof(StatsWords); ++i) raw[i] = static_cast<unsigned char>(i * 131 + 5);
  StatsCarry carry;
  EXPECT_TRUE(carry.Add(Stage::kExecution, 0, 1, *page));
  const StatsSums sums = carry.Snapshot();
  EXPECT_LE(sums.models_size(), static_cast<int>(kMaxStatsModels));
  StatsSums again;  // names are text: protobuf takes them
  EXPECT_TRUE(again.ParseFromString(sums.SerializeAsString()));
}

}  // namespace
}  // namespace millrace
