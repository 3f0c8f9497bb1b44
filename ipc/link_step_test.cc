// Every instruction of every operation of a link, as the place of a death. link_step_stress has
// random courses, and more of them.
#include <stdio.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/link_steps.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kFull = 16;

// Told in the test's output and its XML.
void Tell(const std::string& name, const StepReport& report) {
  printf("%-28s %7zu crash points, %5zu states, %zu kills\n", name.c_str(), size_t{report.points},
         size_t{report.states}, size_t{report.kills});
  ::testing::Test::RecordProperty("crash_points", static_cast<int>(report.points));
  ::testing::Test::RecordProperty("states", static_cast<int>(report.states));
}

const std::vector<Mix> kMixes = {Mix::kBlocks, Mix::kInline, Mix::kBare, Mix::kMixed};

void ExpectSound(StepReport (*step)(const StepCase&), const std::string& name,
                 const std::vector<std::string>& scripts,
                 const std::vector<Mix>& mixes = {Mix::kBlocks, Mix::kMixed}) {
  StepReport all;
  for (const std::string& script : scripts) {
    for (Mix mix : mixes) {
      const StepReport report = step({name, script, mix, Planted::kNone});
      EXPECT_GT(report.points, 10u) << script;
      all.Add(report);
    }
  }
  EXPECT_THAT(all.violations, IsEmpty());
  Tell(name, all);
}

// States before an operation, from the producer's side: empty, middle, before and behind the
// wrap, laps later, nearly full, all lent but one.
std::vector<std::string> ProducerStates() {
  return {"",
          "PPPPPttrc",
          Times(15, "PtrcC"),
          Times(16, "PtrcC"),
          Times(37, "PtrcC") + "PPPPttlC",
          Times(15, "P"),
          Times(15, "Pt") + "cC",
          Times(16, "Pt") + "crC"};
}

TEST(LinkStepTest, Submit) {
  std::vector<std::string> scripts;
  for (const std::string& state : ProducerStates()) scripts.push_back(state + "|P");
  ExpectSound(StepProducer, "submit", scripts, kMixes);
}

TEST(LinkStepTest, SubmitABatchAcrossTheWrap) {
  ExpectSound(StepProducer, "submit, a batch",
              {Times(13, "PtrcC") + "|PPPPPPPP", "|" + Times(kFull, "P")});
}

TEST(LinkStepTest, CollectReturns) {
  // None, some, all of what is lent has been returned; in order and not.
  ExpectSound(StepProducer, "collect returns",
              {"|C", "PPP|C", "PPPttrc|C", Times(16, "P") + Times(16, "t") + "c|C",
               Times(16, "Pt") + Times(16, "r") + "c|C", Times(16, "Pt") + Times(9, "l") + "c|C",
               Times(21, "PtrcC") + "PPPPPPttttlrlc|C"});
}

TEST(LinkStepTest, BlocksAreReusedAfterTheirReturn) {
  ExpectSound(StepProducer, "collect, allocate, submit",
              {Times(16, "Pt") + "c" + Times(5, "l") + "|CPPCPPP",
               Times(30, "PtrcC") + "PPPPPPttttlrlc|CPPPCPP"});
}

TEST(LinkStepTest, RecoveryOfAConsumersDeath) {
  // What it had is taken back, and used again at once; what others hold stays.
  ExpectSound(StepProducer, "take back, reuse",
              {"BBBBB|X", "BBBBBxxxyytt|XPPP", Times(16, "Bxt") + "c" + Times(4, "r") + "|XCPPPP",
               Times(9, "PtrcC") + Times(8, "B") + "xxxxxyyytttttlrc|XCPPPPPCP"});
}

std::vector<std::string> ConsumerStates() {
  return {"p",
          "pppppTTRC",
          Times(15, "pTRCc") + "pp",
          Times(16, "pTRCc") + "p",
          Times(37, "pTRCc") + "ppppTTLc",
          Times(16, "p"),
          Times(16, "pT") + "Cc" + "RRRRcpp",
          Times(16, "pT") + "C"};
}

TEST(LinkStepTest, Take) {
  std::vector<std::string> scripts = {"|T"};
  for (const std::string& state : ConsumerStates()) scripts.push_back(state + "|T");
  ExpectSound(StepConsumer, "take", scripts, kMixes);
}

TEST(LinkStepTest, PublishCredits) {
  std::vector<std::string> scripts = {"|C"};
  for (const std::string& state : ConsumerStates()) scripts.push_back(state + "TT|CTC");
  ExpectSound(StepConsumer, "publish credits", scripts);
}

TEST(LinkStepTest, Return) {
  std::vector<std::string> scripts;
  for (const std::string& state : ConsumerStates()) scripts.push_back(state + "TT|RL");
  scripts.push_back(Times(16, "pT") + "|" + Times(8, "RL"));
  ExpectSound(StepConsumer, "return", scripts);
}

TEST(LinkStepTest, TakeReturnCredit) {
  std::vector<std::string> scripts;
  for (const std::string& state : ConsumerStates()) scripts.push_back(state + "|TTTLRCTRC");
  ExpectSound(StepConsumer, "take, return, credit", scripts);
}

TEST(LinkStepTest, DrainOfADeadProducer) {
  ExpectSound(StepConsumer, "drain the dead", {"|X", "ppppTTR|XTRC", "ppppTT|TRCXTRC"});
}

TEST(LinkStepTest, KillsLeaveWhatWasAudited) {
  StepReport report = KillProducer({"kills", Times(13, "PtrcC") + "PPttlc|P"}, 100, 1);
  report.Add(KillConsumer({"kills", Times(13, "pTRCc") + "ppppTT|TC"}, 100, 2));
  EXPECT_THAT(report.violations, IsEmpty());
  EXPECT_EQ(report.kills, 200u);
  Tell("kills", report);
}

// One fault in the code that is stepped.
void ExpectCaught(StepReport (*step)(const StepCase&), const StepCase& c, const char* sentence) {
  const StepReport report = step(c);
  ASSERT_EQ(report.violations.size(), 1u);
  EXPECT_THAT(report.violations[0], HasSubstr(sentence));
  EXPECT_LT(report.flagged, report.points);
  printf("%-28s flagged at %zu of %zu: %s\n", c.name.c_str(), size_t{report.flagged},
         size_t{report.points}, report.violations[0].c_str());
  StepCase sound = c;
  sound.planted = Planted::kNone;
  EXPECT_THAT(step(sound).violations, IsEmpty());
}

TEST(LinkStepFaultTest, PublishBeforeThePayload) {
  // In the first lap the slot is empty, later it holds another message.
  for (Mix mix : kMixes) {
    ExpectCaught(StepProducer, {"publish first", "PPt|PP", mix, Planted::kPublishFirst},
                 "a message is of no known kind");
    ExpectCaught(StepProducer,
                 {"publish first", Times(17, "PtrcC") + "|PP", mix, Planted::kPublishFirst},
                 "is not whole");
  }
}

TEST(LinkStepFaultTest, ABlockUsedAgainWhileItIsLent) {
  ExpectCaught(StepProducer, {"reuse early", "Pt|PP", Mix::kBlocks, Planted::kReuseEarly},
               "changed while it is held");
  ExpectCaught(StepProducer, {"reuse early", "|PP", Mix::kBlocks, Planted::kReuseEarly},
               "the block of message 0 is not whole");
}

TEST(LinkStepFaultTest, ABlockTakenBackThatOthersHold) {
  ExpectCaught(StepProducer,
               {"take back on loss", "BBxt|XP", Mix::kBlocks, Planted::kTakeBackOnLoss},
               "the block of message 1 is not whole");
}

TEST(LinkStepFaultTest, CreditBeforeTheCopy) {
  ExpectCaught(StepConsumer, {"credit first", "ppp|TT", Mix::kMixed, Planted::kCreditFirst},
               "credits pass what was copied");
}

TEST(LinkStepFaultTest, ReturnBeforeTheLastRead) {
  ExpectCaught(StepConsumer, {"return first", "pppTT|RR", Mix::kBlocks, Planted::kReturnFirst},
               "came back before it was read");
}

TEST(LinkStepFaultTest, AReturnInTwoHalves) {
  // In the first lap the other half is 0, no block; later the last lap's block.
  ExpectCaught(StepConsumer,
               {"return in halves", "ppTT|RR", Mix::kBlocks, Planted::kReturnInHalves},
               "a block was returned that is not lent");
  ExpectCaught(StepConsumer,
               {"return in halves", Times(16, "pTRCc") + "ppppTTTT|LL", Mix::kBlocks,
                Planted::kReturnInHalves},
               "came back before it was read");
}

}  // namespace
}  // namespace millrace
