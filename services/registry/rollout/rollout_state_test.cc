// A saved rollout is read back as it was, or not at all.
#include "services/registry/rollout/rollout_state.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "services/registry/rollout/testing/controller_rig.h"

namespace millrace {
namespace {

TEST(RolloutState, IsReadBackAsItWasWritten) {
  ControllerRig rig;
  rig.Start();
  rig.Go(3);
  const std::string text = WriteRollouts(rig.controller->rollouts());
  const auto read = ReadRollouts(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(WriteRollouts(*read), text);
  EXPECT_EQ(read->at("churn").before->SerializeAsString(), rig.before.SerializeAsString());
}

// Every way of cutting or bending the file is refused, and none brings the process down.
TEST(RolloutState, ADamagedFileIsRefused) {
  ControllerRig rig;
  rig.Start();
  const std::string text = rig.hands.saved;
  ASSERT_TRUE(ReadRollouts(text).ok());
  for (size_t size = 0; size + 2 < text.size(); size += 7) {
    EXPECT_FALSE(ReadRollouts(text.substr(0, size)).ok()) << size;
  }
  for (const auto& [good, bad] : {std::pair("running", "jogging"),
                                  {"\"step\": 0", "\"step\": 9"},
                                  {"\"step\": 0", "\"step\": \"0\""},
                                  {"rollouts_form\": 1", "x\": 1"},
                                  {"\"every_ms\"", "\"evry_ms\""},
                                  {"\"reason\"", "\"season\""}}) {
    std::string bent = text;
    ASSERT_NE(bent.find(good), std::string::npos) << good;
    bent.replace(bent.find(good), std::string(good).size(), bad);
    EXPECT_FALSE(ReadRollouts(bent).ok()) << bad;
  }
}

}  // namespace
}  // namespace millrace
