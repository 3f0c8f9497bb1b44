#include "services/ingress/core/model_breakers.h"

#include <gtest/gtest.h>

#include <vector>

namespace millrace {
namespace {

class ModelBreakersTest : public ::testing::Test {
 protected:
  ModelBreakersTest() {
    for (auto [served, model, name] :
         {std::tuple(&a_, &model_a_, "a"), std::tuple(&b_, &model_b_, "b")}) {
      model->set_name(name);
      model->set_version("1");
      served->model = model;
      served->members = {served};
    }
    model_both_.set_name("both");
    both_.model = &model_both_;
    both_.members = {&a_, &b_};
  }
  // So many deaths that the breaker opens at `now`.
  void Open(const ServedModel& model, int64_t now) {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(breakers_.Died(model, now), i == 2);
  }

  Model model_a_, model_b_, model_both_;
  ServedModel a_, b_, both_;
  std::vector<BreakerChange> told_;
  ModelBreakers breakers_{{3, 100, 1000},
                          [this](const BreakerChange& change) { told_.push_back(change); }};
};

TEST_F(ModelBreakersTest, DeathsWithinThePeriodOpenItForThatModelAlone) {
  EXPECT_FALSE(breakers_.troubled());
  EXPECT_FALSE(breakers_.Died(a_, 0));
  EXPECT_FALSE(breakers_.Died(a_, 60));
  EXPECT_TRUE(breakers_.troubled());
  EXPECT_TRUE(breakers_.Admit(a_, 61).admitted);
  EXPECT_FALSE(breakers_.Died(a_, 130)) << "the first is too old";
  EXPECT_TRUE(breakers_.Died(a_, 150));
  const ModelBreakers::Verdict verdict = breakers_.Admit(a_, 150);
  EXPECT_FALSE(verdict.admitted);
  EXPECT_EQ(verdict.retry_after_ns, 1000);
  EXPECT_TRUE(breakers_.IsOpen(a_, 150));
  EXPECT_TRUE(breakers_.Admit(b_, 150).admitted);
  EXPECT_FALSE(breakers_.IsOpen(b_, 150));
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].model, "a");
  EXPECT_EQ(told_[0].state, BreakerState::kOpen);
}

// A worker that answered and then died is none of a storm.
TEST_F(ModelBreakersTest, AnAnswerInBetweenStartsTheCountAgain) {
  for (int i = 0; i < 50; ++i) {
    EXPECT_FALSE(breakers_.Died(a_, i));
    EXPECT_FALSE(breakers_.Died(a_, i));
    breakers_.Answered(a_);
    EXPECT_FALSE(breakers_.troubled());
  }
  EXPECT_TRUE(told_.empty());
}

TEST_F(ModelBreakersTest, HalfOpenOneRequestDecides) {
  Open(a_, 0);
  EXPECT_FALSE(breakers_.Admit(a_, 999).admitted);
  const ModelBreakers::Verdict probe = breakers_.Admit(a_, 1000);
  EXPECT_TRUE(probe.admitted && probe.probe);
  EXPECT_FALSE(breakers_.Admit(a_, 1001).admitted) << "one at a time";
  EXPECT_TRUE(breakers_.Died(a_, 1002)) << "one death is enough";
  EXPECT_FALSE(breakers_.Admit(a_, 1500).admitted);
  EXPECT_TRUE(breakers_.Admit(a_, 2002).probe);
  breakers_.GaveUp(a_);
  EXPECT_TRUE(breakers_.Admit(a_, 2003).probe) << "the last one proved nothing";
  breakers_.Answered(a_);
  EXPECT_FALSE(breakers_.troubled());
  EXPECT_FALSE(breakers_.Admit(a_, 2004).probe);
  EXPECT_EQ(told_.back().state, BreakerState::kClosed);
}

TEST_F(ModelBreakersTest, AnAnswerFromBeforeTheStormDoesNotCloseIt) {
  Open(a_, 0);
  breakers_.Answered(a_);
  EXPECT_FALSE(breakers_.Admit(a_, 1).admitted);
}

TEST_F(ModelBreakersTest, AnEnsembleIsShutOutWithItsMemberAndMayProbeForIt) {
  Open(b_, 0);
  EXPECT_FALSE(breakers_.Admit(both_, 1).admitted);
  EXPECT_TRUE(breakers_.IsOpen(both_, 1));
  EXPECT_TRUE(breakers_.Admit(a_, 1).admitted);
  EXPECT_TRUE(breakers_.Admit(both_, 1000).probe);
  EXPECT_FALSE(breakers_.Admit(b_, 1000).admitted);
  breakers_.Answered(both_);
  EXPECT_TRUE(breakers_.Admit(b_, 1001).admitted);
}

}  // namespace
}  // namespace millrace
