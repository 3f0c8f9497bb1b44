#include "services/runtime/page_entry.h"

#include <stdint.h>
#include <stdio.h>

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

constexpr RegionType kType = {RegionKind::kArena, 4711};
constexpr size_t kSize = PageEntry::kStepBytes * 2 + 4096;

// Pages of this process's own mapping that are entered: bit 63 of each word of pagemap.
size_t Entered(const Region& region) {
  FILE* file = fopen("/proc/self/pagemap", "rb");
  std::vector<uint64_t> words(region.size() / 4096);
  fseek(file, static_cast<long>(reinterpret_cast<uintptr_t>(region.bytes()) / 4096 * 8), SEEK_SET);
  EXPECT_EQ(fread(words.data(), 8, words.size(), file), words.size());
  fclose(file);
  return std::count_if(words.begin(), words.end(), [](uint64_t word) { return word >> 63 != 0; });
}

class PageEntryTest : public testing::Test {
 protected:
  std::shared_ptr<Region> Make(Entering entering) {
    return std::make_shared<Region>(Must(Region::Create(kType, 1, kSize, {.entering = entering})));
  }
  PageEntry pages_;
};

TEST_F(PageEntryTest, ARegionIsEnteredInStepsAndThenNothingIsLeftToDo) {
  if (Entered(*Make(Entering::kNow)) != kSize / 4096) GTEST_SKIP() << "pagemap is not readable";
  const auto own = Make(Entering::kLater);
  EXPECT_LT(Entered(*own), kSize / 8192) << "the header's, and perhaps its neighbours";
  pages_.Add(own, own.get());
  EXPECT_EQ(pages_.WaitMs(false), PageEntry::kQuietMs);
  EXPECT_EQ(pages_.WaitMs(true), PageEntry::kBetweenMs);
  pages_.Step();
  EXPECT_GE(Entered(*own), PageEntry::kStepBytes / 4096);
  EXPECT_LT(Entered(*own), kSize / 4096) << "a step is bounded";
  pages_.Step();
  pages_.Step();
  EXPECT_EQ(Entered(*own), kSize / 4096);
  pages_.Step();
  EXPECT_EQ(pages_.waiting(), 0u);
  EXPECT_EQ(pages_.WaitMs(true), -1);
}

TEST_F(PageEntryTest, APeersRegionIsEnteredToo) {
  const auto own = Make(Entering::kNow);
  if (Entered(*own) != kSize / 4096) GTEST_SKIP() << "pagemap is not readable";
  const auto view = std::make_shared<Region>(
      Must(Region::Open(own->fd().get(), kType, 1, kSize, Entering::kLater)));
  EXPECT_LT(Entered(*view), kSize / 8192);
  pages_.Add(view, view.get());
  while (pages_.waiting() > 0) pages_.Step();
  EXPECT_EQ(Entered(*view), kSize / 4096);
}

TEST_F(PageEntryTest, ARegionThatHasEndedIsPassedOver) {
  auto gone = Make(Entering::kLater);
  const auto there = Make(Entering::kLater);
  pages_.Add(gone, gone.get());
  pages_.Add(there, there.get());
  gone.reset();
  pages_.Step();
  EXPECT_EQ(pages_.waiting(), 1u);
}

}  // namespace
}  // namespace millrace
