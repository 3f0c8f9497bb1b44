#include "common/fault_rule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<std::string> Faults(const std::string& rules) {
  return FormatFaults("f", ParseConfig("faults:\n  rules:\n" + rules).faults);
}

TEST(FaultRule, EveryKindAndKeyIsRead) {
  const ConfigResult result = ParseConfig(
      "faults:\n  seed: 3\n  rules:\n"
      "    - {stage: execution, kind: delay, delay_ms: 0.5, per: row, busy: true, model: m}\n"
      "    - {stage: ingress, kind: loss, fraction: 0.25, max_active: 4}\n"
      "    - {stage: aggregation, kind: error, header: a, once: true}\n"
      "    - {stage: features, kind: crash, signal: KILL}\n"
      "    - {stage: features, kind: crash}\n"
      "    - {stage: execution, kind: hang}\n"
      "    - {stage: execution, kind: no_memory}\n"
      "    - {stage: execution, kind: wrong_output}\n"
      "    - {stage: execution, kind: device_lost}\n");
  ASSERT_THAT(FormatFaults("f", result.faults), IsEmpty());
  const std::vector<FaultRule> rules = FaultRulesOf(result.config);
  ASSERT_THAT(rules, SizeIs(9));
  EXPECT_EQ(rules[0].delay_ns, 500'000);
  EXPECT_TRUE(rules[0].busy && rules[0].per_row && !rules[0].once);
  EXPECT_EQ(rules[0].model, "m");
  EXPECT_EQ(rules[1].fraction, 0.25);
  EXPECT_EQ(rules[1].max_active, 4);
  EXPECT_EQ(rules[2].header, "a");
  EXPECT_TRUE(rules[2].once);
  EXPECT_EQ(rules[3].signal, SIGKILL);
  EXPECT_EQ(rules[4].signal, SIGSEGV);
  EXPECT_EQ(rules[8].kind, FaultKind::kDeviceLost);
}

TEST(FaultRule, EveryFaultIsToldByItsLine) {
  EXPECT_THAT(Faults("    - {stage: executio, kind: loss}\n"
                     "    - {stage: features, kind: los}\n"
                     "    - {stage: features, kind: loss, fraction: 1.5}\n"
                     "    - {stage: features, kind: loss, fractoin: 1}\n"
                     "    - {stage: features}\n"
                     "    - {stage: features, kind: delay}\n"
                     "    - {stage: features, kind: loss, delay_ms: 1}\n"
                     "    - {stage: features, kind: device_lost}\n"
                     "    - {stage: ingress, kind: delay, delay_ms: 1, busy: true}\n"
                     "    - {stage: ingress, kind: wrong_output}\n"
                     "    - {stage: features, kind: loss, max_active: 1}\n"
                     "    - {stage: features, kind: loss, signal: SEGV}\n"
                     "    - {stage: features, kind: loss, version: 2}\n"
                     "    - {stage: ingress, kind: loss, model: m, version: 2}\n"
                     "    - loss\n"),
              ElementsAre(HasSubstr("f:3: faults.rules[0].stage: must be one of ingress"),
                          HasSubstr("f:4: faults.rules[1].kind: must be one of delay"),
                          HasSubstr("f:5: faults.rules[2].fraction: must be a number from 0 to 1"),
                          HasSubstr("f:6: faults.rules[3].fractoin: is not a key"),
                          HasSubstr("f:7: faults.rules[4]: kind: is missing"),
                          HasSubstr("f:8: faults.rules[5]: delay_ms: belongs to kind delay"),
                          HasSubstr("f:9: faults.rules[6]: delay_ms: belongs to kind delay"),
                          HasSubstr("f:10: faults.rules[7]: kind: device_lost"),
                          HasSubstr("f:11: faults.rules[8]: busy and per"),
                          HasSubstr("f:12: faults.rules[9]: kind: wrong_output"),
                          HasSubstr("f:13: faults.rules[10]: max_active"),
                          HasSubstr("f:14: faults.rules[11]: signal"),
                          HasSubstr("f:15: faults.rules[12]: version: belongs to model"),
                          HasSubstr("f:16: faults.rules[13]: version: belongs to model"),
                          HasSubstr("f:17: faults.rules[14]: must be a map")));
  EXPECT_THAT(Faults("    {a: 1}\n"), ElementsAre(HasSubstr("must be a list of rules")));
  std::string many;
  for (int i = 0; i < 33; ++i) many += "    - {stage: features, kind: loss}\n";
  EXPECT_THAT(Faults(many), ElementsAre(HasSubstr("more than 32 rules")));
}

TEST(FaultRule, APlanNeedsToBeEnabledAndNoPlanDoesNot) {
  Config config;
  EXPECT_EQ(FaultPlanFault(config, false), "");
  config.fault_rules = "- {stage: features, kind: loss}";
  EXPECT_NE(FaultPlanFault(config, false), "");
  EXPECT_EQ(FaultPlanFault(config, true), "");
}

}  // namespace
}  // namespace millrace
