#include "ipc/stats.h"

#include <cstring>
#include <memory>
#include <numeric>
#include <random>

#include "gtest/gtest.h"
#include "ipc/page.h"

namespace millrace {
namespace {

class StatsTest : public testing::Test {
 protected:
  std::unique_ptr<StatsWords> words_ = std::make_unique<StatsWords>();
  StatsWriter writer_{words_.get()};

  // Of a slot that must be there.
  ModelStats Find(const std::string& model, const std::string& version = "1") const {
    for (ModelStats& one : ReadModelStats(*words_)) {
      if (one.model == model && one.version == version) return std::move(one);
    }
    ADD_FAILURE() << model << " has no slot";
    return {{}, {}, 0, std::vector<uint64_t>(kStatsWords)};
  }
};

TEST_F(StatsTest, WhatIsCountedByARouteIsReadByItsModel) {
  writer_.Name(7, "digits", "1");
  writer_.Of(7).Code(0);
  writer_.Of(7).Add(StatsSum::kRows, 5);
  writer_.Of(7).Observe(StatsTime::kQueue, 1'200);
  writer_.Of(7).Observe(StatsTime::kQueue, 1'201);
  writer_.Of(7).ObserveBatch(3);
  const ModelStats digits = Find("digits");
  EXPECT_EQ(digits.code(0), 1u);
  EXPECT_EQ(digits.sum(StatsSum::kRows), 5u);
  const size_t queue = StatsTimeAt(StatsTime::kQueue);
  EXPECT_EQ(digits.words[queue], 2'401u);
  EXPECT_EQ(digits.words[queue + 1 + 1], 1u);  // up to 1.2 us
  EXPECT_EQ(digits.words[queue + 1 + 2], 1u);
  EXPECT_EQ(digits.words[kStatsBatchRowsAt], 3u);
  // Nothing else was touched.
  EXPECT_EQ(std::accumulate(digits.words.begin(), digits.words.end(), uint64_t{0}),
            1u + 5 + 2'401 + 2 + 3 + 1);
}

TEST_F(StatsTest, AnUnknownRouteIsSlotNoughts) {
  writer_.Of(9).Code(5);
  writer_.Unknown().Code(5);
  EXPECT_EQ(Find("", "").code(5), 2u);
}

TEST_F(StatsTest, AVersionKeepsItsSlotWhenItsRouteChanges) {
  writer_.Name(1, "m", "1");
  writer_.Of(1).Code(0);
  writer_.Name(2, "m", "1");
  writer_.Of(2).Code(0);
  EXPECT_EQ(Find("m").code(0), 2u);
  EXPECT_EQ(ReadModelStats(*words_).size(), 2u);
}

TEST_F(StatsTest, MoreModelsThanSlotsShareSlotNought) {
  for (uint32_t i = 1; i < 300; ++i) writer_.Name(i, "m" + std::to_string(i), "1");
  writer_.Name(70'000, "beyond", "1");
  for (uint32_t i = 1; i < 300; ++i) writer_.Of(static_cast<uint16_t>(i)).Code(0);
  EXPECT_EQ(ReadModelStats(*words_).size(), kMaxStatsModels);
  EXPECT_EQ(Find("m127").code(0), 1u);
  EXPECT_EQ(Find("", "").code(0), 299u - 127u);
}

TEST_F(StatsTest, ACodeOutOfRangeIsCountedAsUnknown) {
  writer_.Of(1).Code(1000);
  EXPECT_EQ(Find("", "").code(2), 1u);
}

TEST_F(StatsTest, LongNamesAreCut) {
  writer_.Name(1, std::string(500, 'x'), std::string(100, '1'));
  EXPECT_NO_FATAL_FAILURE(
      Find(std::string(kStatsNameBytes, 'x'), std::string(kStatsVersionBytes, '1')));
}

TEST_F(StatsTest, NamesAreTextWhateverStandsThere) {
  EXPECT_EQ(ShownText("größe 模型"), "größe 模型");
  EXPECT_EQ(ShownText("a\nb\x7f\xff\xc0\x80\xed\xa0\x80"), "a?b???????");
  EXPECT_EQ(ShownText("\xe6\xa8"), "??");  // cut short
  // A page that a hostile peer filled: bounded, and text.
  std::mt19937_64 random(3);
  auto* raw = reinterpret_cast<uint64_t*>(words_.get());
  for (size_t i = 0; i < sizeof(StatsWords) / sizeof(uint64_t); ++i) raw[i] = random();
  const std::vector<ModelStats> all = ReadModelStats(*words_);
  EXPECT_EQ(all.size(), kMaxStatsModels);
  for (const ModelStats& one : all) {
    EXPECT_EQ(one.words.size(), kStatsWords);
    for (const char c : one.model + one.version) EXPECT_TRUE(c < 0 || c >= 0x20);
    EXPECT_EQ(ShownText(one.model), one.model);
  }
}

// A slot whose name is only half there is not in use yet.
TEST_F(StatsTest, AHalfMadeSlotIsNotRead) {
  words_->models[3].name.words[0].Set(0x6161616161616161);
  words_->models[3].words[0].Set(77);
  EXPECT_EQ(ReadModelStats(*words_).size(), 1u);
}

TEST_F(StatsTest, APageOfAnotherLayoutIsRefused) {
  const Region page =
      std::move(*Region::Create({RegionKind::kPage, kPageType.layout_hash + 1}, 5, sizeof(Page)));
  EXPECT_FALSE(Region::Open(page.fd().get(), kPageType, 5, sizeof(Page)).ok());
}

}  // namespace
}  // namespace millrace
