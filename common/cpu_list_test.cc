#include "common/cpu_list.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CpuList, IsReadSortedAndWrittenBack) {
  EXPECT_THAT(ParseCpuList("").value(), IsEmpty());
  EXPECT_THAT(ParseCpuList("3").value(), ElementsAre(3));
  EXPECT_THAT(ParseCpuList("0-1,4").value(), ElementsAre(0, 1, 4));
  EXPECT_THAT(ParseCpuList("7,2-3,0").value(), ElementsAre(0, 2, 3, 7));
  EXPECT_THAT(ParseCpuList("1023").value(), ElementsAre(1023));
  EXPECT_EQ(ParseCpuList("0-1023").value().size(), 1024u);
  for (const char* text : {"", "0", "0-1", "0-1,4", "5,7,9-1023"}) {
    EXPECT_EQ(FormatCpuList(ParseCpuList(text).value()), text);
  }
  EXPECT_EQ(FormatCpuList(ParseCpuList("4,3,2,0").value()), "0,2-4");
}

TEST(CpuList, WhatIsNoListIsRefused) {
  for (const char* text : {" ", "a", "-", "-1", "1-", "0,", ",0", "0 ,1", "0x1", "1.0", "+1",
                           "0--1", "0-1-2", "1024", "0-1024", "99999999999999999999", "all"}) {
    EXPECT_THAT(std::string(ParseCpuList(text).status().message()), HasSubstr("0-1,4")) << text;
  }
  EXPECT_THAT(std::string(ParseCpuList("3-1").status().message()), HasSubstr("upwards"));
  EXPECT_THAT(std::string(ParseCpuList("1-3,2").status().message()), HasSubstr("CPU 2 twice"));
}

TEST(CpuList, MasksAreTheSameSet) {
  const CpuList cpus = {0, 63, 64, 1023};
  EXPECT_EQ(CpusOf(MaskOf(cpus)), cpus);
  EXPECT_THAT(AllowedCpus(0), testing::Not(IsEmpty()));
  EXPECT_THAT(AllowedCpus(-1), IsEmpty());
}

}  // namespace
}  // namespace millrace
