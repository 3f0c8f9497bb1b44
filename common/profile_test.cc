#include "common/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::HasSubstr;

// "main" from 100, "work" from 200, "leaf" from 300; the rest is not known.
std::string NameOf(uint64_t address) {
  if (address >= 400 && address < 500) return "tcmalloc::allocate()";
  if (address < 100 || address >= 400) return "";
  return address < 200 ? "main" : (address < 300 ? "work" : "leaf");
}

// 10 ms a sample. Twice leaf under work under main, where work's call is its last instruction; once
// work that calls itself; once an address that nobody knows.
std::vector<uint64_t> Samples() {
  return {0, 3, 0,   10000, 0,              //
          2, 3, 301, 300,   150,            //
          1, 3, 210, 220,   150,            //
          1, 1, 50,                         //
          0, 1, 0,   0x6f,  0xffffffffff};  // the trailer, and a map of the memory
}

TEST(Profile, StacksBecomeNamesAndTimes) {
  const absl::StatusOr<Profile> profile = FromCpuSamples(Samples(), NameOf);
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->period(), 10'000'000);
  EXPECT_EQ(profile->string_table(0), "");
  const std::vector<ProfileLine> table = ProfileTable(*profile);
  ASSERT_EQ(table.size(), 4u);
  EXPECT_EQ(table[0].function, "leaf");
  EXPECT_EQ(table[0].self, 20'000'000);
  EXPECT_EQ(table[0].total, 20'000'000);
  EXPECT_EQ(table[1].function, "work");
  EXPECT_EQ(table[1].self, 10'000'000);
  EXPECT_EQ(table[1].total, 30'000'000) << "a function that calls itself counts once";
  EXPECT_EQ(table[2].function, "?");
  EXPECT_EQ(table[3].function, "main");
  EXPECT_EQ(table[3].self, 0);
  EXPECT_EQ(table[3].total, 30'000'000);
  EXPECT_EQ(FoldedStacks(*profile),
            "? 10000000\nmain;work;leaf 20000000\nmain;work;work 10000000\n");
}

// One in so many bytes on average: what is seldom sampled stands for more.
TEST(Profile, HeapSamplesStandForWhatWasNotSampled) {
  const std::vector<HeapSample> samples = {{1, 1024, {301, 150}},            // small: one of 512.5
                                           {2, 2048, {450, 460, 301, 150}},  // and two more there
                                           {1, 64 << 20, {210, 150}},  // large: always sampled
                                           {0, 100, {150}},            // nothing
                                           {1, 1 << 19, {50}}};        // as large as the period
  const Profile profile = FromHeapSamples(samples, 1 << 19, NameOf);
  EXPECT_TRUE(IsOfBytes(profile));
  EXPECT_FALSE(IsOfBytes(*FromCpuSamples(Samples(), NameOf)));
  EXPECT_FALSE(IsOfBytes(Profile()));
  ASSERT_EQ(profile.sample_size(), 3) << "a stack stands once";
  const std::vector<ProfileLine> table = ProfileTable(profile);
  ASSERT_EQ(table.size(), 4u);
  EXPECT_EQ(table[0].function, "work");
  EXPECT_EQ(table[0].self, 64 << 20);
  EXPECT_EQ(table[1].function, "leaf");
  EXPECT_NEAR(static_cast<double>(table[1].self), 3 * 1024 * 512.5, 100);
  EXPECT_EQ(table[2].function, "?");
  EXPECT_NEAR(static_cast<double>(table[2].self), (1 << 19) / 0.6321206, 2);
  EXPECT_EQ(table[3].total, table[0].self + table[1].self) << "main";
  // Objects, too.
  int64_t objects = 0;
  for (const Profile::Sample& sample : profile.sample()) objects += sample.value(0);
  EXPECT_EQ(objects, 1538 + 1 + 2);
}

TEST(Profile, PackedAndUnpackedItIsTheSame) {
  const Profile profile = *FromCpuSamples(Samples(), NameOf);
  const std::string packed = Pack(profile);
  EXPECT_EQ(packed.substr(0, 2), "\x1f\x8b") << "gzip";
  const absl::StatusOr<Profile> again = Unpack(packed);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->SerializeAsString(), profile.SerializeAsString());
  EXPECT_FALSE(Unpack(packed.substr(0, packed.size() - 9)).ok());
  EXPECT_FALSE(Unpack("text").ok());
}

TEST(Profile, WhatIsNoneIsRefused) {
  std::vector<uint64_t> words = Samples();
  for (size_t size = 0; size < 18; ++size) {
    EXPECT_FALSE(FromCpuSamples(absl::MakeSpan(words).first(size), NameOf).ok()) << size;
  }
  words[1] = 4;
  EXPECT_FALSE(FromCpuSamples(words, NameOf).ok());
  words = Samples();
  words[6] = uint64_t{1} << 62;
  EXPECT_THAT(FromCpuSamples(words, NameOf).status().message(), HasSubstr("word 5"));
}

TEST(Profile, ReadingTakesWhatRefersToNothing) {
  Profile profile;
  profile.add_sample()->add_location_id(7);
  profile.add_location()->set_id(8);
  profile.add_function()->set_name(-1);
  EXPECT_EQ(FoldedStacks(profile), "? 0\n");
  EXPECT_EQ(ProfileTable(profile).size(), 1u);
}

}  // namespace
}  // namespace millrace
