#include <stdio.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/link_steps.h"

namespace millrace {
namespace {

// Under a minute on a machine that has nothing else to do.
constexpr int kCourses = 120;

void ExpectSound(const char* name, StepReport (*step)(const StepCase&),
                 std::string (*script)(uint64_t, int, int)) {
  StepReport all;
  for (uint64_t seed = 1; seed <= kCourses && all.violations.empty(); ++seed) {
    const Mix mix = static_cast<Mix>(seed % 4);
    all.Add(step({name, script(seed, static_cast<int>(seed * 7 % 120), 6), mix, Planted::kNone}));
  }
  EXPECT_THAT(all.violations, ::testing::IsEmpty());
  printf("%s: %zu crash points, %zu states\n", name, size_t{all.points}, size_t{all.states});
}

TEST(LinkStepStress, RandomCoursesOfAProducer) {
  ExpectSound("producer", StepProducer, RandomProducerScript);
}

TEST(LinkStepStress, RandomRecoveriesOfAProducer) {
  ExpectSound("recovery", StepProducer, [](uint64_t seed, int played, int stepped) {
    return RandomProducerScript(seed, played, 0) + "X" +
           RandomProducerScript(seed + 1, 0, stepped).substr(1);
  });
}

TEST(LinkStepStress, RandomCoursesOfAConsumer) {
  ExpectSound("consumer", StepConsumer, RandomConsumerScript);
}

TEST(LinkStepStress, Kills) {
  StepReport all;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    all.Add(KillProducer({"kills", RandomProducerScript(seed, 60, 4)}, 50, seed));
    all.Add(KillConsumer({"kills", RandomConsumerScript(seed, 60, 6)}, 50, seed));
  }
  EXPECT_THAT(all.violations, ::testing::IsEmpty());
  EXPECT_EQ(all.kills, 1000u);
}

}  // namespace
}  // namespace millrace
