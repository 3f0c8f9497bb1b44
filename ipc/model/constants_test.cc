// What the models take from the code is what the code does, and where a model is smaller than the
// code on purpose, the same inequalities hold for both.
#include "ipc/model/constants.h"

#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>
#include <string>

#include "ipc/link_shm.h"
#include "ipc/message.h"
#include "ipc/window.h"

namespace millrace {
namespace {

std::string Text(const std::string& name) {
  std::ifstream file("ipc/model/" + name);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_FALSE(text.str().empty()) << name;
  return text.str();
}

// The number of the first "#define NAME number" of a model's text; 0 and a failure without.
uint64_t Define(const std::string& text, const std::string& name) {
  const std::string line = "\n#define " + name + " ";
  const size_t at = text.find(line);
  EXPECT_NE(at, std::string::npos) << name;
  return at == std::string::npos ? 0 : strtoull(text.c_str() + at + line.size(), nullptr, 10);
}

TEST(ModelConstantsTest, ParkedIsOddWhileAsleepAndNeverTheSame) {
  const ModelConstants c = ReadModelConstants();
  EXPECT_EQ(c.asleep_mask, 1u);
  EXPECT_EQ(c.epoch_start & c.asleep_mask, 0u);
  EXPECT_EQ((c.epoch_start + c.arm_step) & c.asleep_mask, 1u);
  EXPECT_EQ((c.epoch_start + c.arm_step + c.unpark_step) & c.asleep_mask, 0u);
  EXPECT_GT(c.arm_step, 0u);
  EXPECT_GT(c.unpark_step, 0u);
}

TEST(ModelConstantsTest, ANewSlotShowsNoMessage) {
  const ModelConstants c = ReadModelConstants();
  EXPECT_NE(c.first_seq, 0u);  // a new region is zero
  EXPECT_NE(c.first_return, 0u);
}

TEST(ModelConstantsTest, TheModelsRingIsTheCodesButSmaller) {
  const std::string state = Text("redispatch_state.inc");
  const uint64_t ring = Define(Text("redispatch.pml"), "RING");
  EXPECT_GT(ring, 1u);
  EXPECT_EQ(kSlots % ring, 0u);
  EXPECT_EQ(kSlots & (kSlots - 1), 0u);
  EXPECT_LE(kWindowUnits * kMaxIngressLanes, kSlots);
  EXPECT_NE(state.find("% RING"), std::string::npos);
}

TEST(ModelConstantsTest, AnIdsPartsFitIntoTheModels) {
  // The model's id has two bits for the request and three for the attempt, and asserts that no
  // attempt passes them; the code's attempt has eight.
  const PartId id = PartId::Unpack(PartId{1, 2, 255, 4}.Pack());
  EXPECT_EQ(id.attempt, 255);
  EXPECT_FALSE(id == (PartId{1, 2, 254, 4}));
  EXPECT_FALSE(id == (PartId{1, 3, 255, 4}));
  EXPECT_EQ(PartId{}.attempt, 0);
}

}  // namespace
}  // namespace millrace
