// The golden probe over a clock that the test sets: when it asks, and what readiness follows.
#include "services/ingress/core/golden_probe.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <string>

#include "common/clock.h"
#include "common/testing/allocations.h"

namespace millrace {
namespace {

constexpr int64_t kPeriod = kNanosPerSecond;

// The pipeline, as the probe sees it.
class GoldenProbeTest : public ::testing::Test {
 protected:
  enum class Works { kRight, kWrong, kStuck, kBusy, kPoison };

  static GoldenProbe::Host HostOf(GoldenProbeTest* test) {
    return {[test](const InferRequest& request, Completion* completion) {
              return test->Send(request, completion);
            },
            [test](RequestId id) { test->cancelled_.push_back(id); },
            [test](size_t) { return test->run_ns_; }, [test] { return test->now_; }};
  }

  // Models named by `names`, each expecting 7; routes count from `first_route`.
  static std::shared_ptr<const ModelTable> Table(const std::vector<std::string>& names,
                                                 uint32_t first_route = 10, float expected = 7) {
    auto catalog = std::make_shared<Catalog>();
    for (const std::string& name : names) {
      Model* model = catalog->add_models();
      EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
          R"(version: "1" max_rows: 1 latest: true
             inputs { name: "input" datatype: 11 dims: 1 }
             outputs { tensor { name: "out" datatype: 11 dims: 1 } kind: PREDICTION }
             golden { inputs { name: "input" datatype: 11 shape: 1 shape: 1 data: "abcd" }
                      outputs { name: "out" datatype: 11 } })",
          model));
      model->set_name(name);
      model->set_route(first_route++);
      model->mutable_golden(0)->mutable_outputs(0)->set_data(&expected, sizeof expected);
    }
    return ModelTable::Make(catalog);
  }

  RequestId Send(const InferRequest& request, Completion* completion) {
    ++sent_;
    last_sent_ = std::string(request.model);
    const Works works = works_.count(last_sent_) > 0 ? works_[last_sent_] : Works::kRight;
    if (works == Works::kStuck) {
      stuck_.push_back(completion);
      return stuck_.size();
    }
    Answer(completion, works);
    return 0;
  }
  static void Answer(Completion* completion, Works works) {
    const float value = works == Works::kWrong ? 8 : 7;
    const int64_t shape[] = {1, 1};
    const TensorView output = {
        "out", DataType::kFp32, shape, {reinterpret_cast<const char*>(&value), sizeof value}};
    InferAnswer answer;
    if (works == Works::kBusy) answer.status = absl::ResourceExhaustedError("busy");
    if (works == Works::kPoison) answer.status = absl::InternalError("poison");
    answer.outputs = {&output, 1};
    completion->Done(answer);
  }
  // Steps as the lane does: at once while there is something to do, else when it is due.
  void RunUntil(int64_t end) {
    while (true) {
      while (probe_.Step() > 0) {
      }
      const int64_t next = std::max(probe_.NextNs(), now_ + 1);
      if (next > end) break;
      now_ = next;
    }
    now_ = end;
  }
  bool ModelReady(size_t place) { return probe_.ModelReady(place).ok(); }
  bool WordsReady() { return now_ <= static_cast<int64_t>(words_.ready_until_ns.Get()); }

  int64_t now_ = 100 * kNanosPerSecond;
  int64_t run_ns_ = 1000;
  std::map<std::string, Works> works_;
  std::vector<Completion*> stuck_;
  std::vector<RequestId> cancelled_;
  std::string last_sent_;
  int sent_ = 0;
  GoldenWords words_ = {};
  GoldenProbe probe_{HostOf(this), kPeriod, 0, &words_};
};

TEST_F(GoldenProbeTest, NothingIsReadyBeforeEveryModelHasAnswered) {
  EXPECT_FALSE(probe_.AllReady());
  EXPECT_FALSE(probe_.Judged());
  EXPECT_FALSE(WordsReady());
  works_["b"] = Works::kStuck;
  probe_.SetTable(Table({"a", "b"}));
  EXPECT_FALSE(probe_.AllReady());
  RunUntil(now_);
  EXPECT_TRUE(ModelReady(0));
  EXPECT_FALSE(ModelReady(1));
  EXPECT_FALSE(probe_.AllReady());
  EXPECT_FALSE(probe_.Judged());
  EXPECT_FALSE(WordsReady());
  Answer(stuck_[0], Works::kRight);
  EXPECT_TRUE(ModelReady(1));
  EXPECT_TRUE(probe_.AllReady());
  EXPECT_TRUE(probe_.Judged());
  EXPECT_TRUE(WordsReady());
}

TEST_F(GoldenProbeTest, AClientWaitsForAModelThatDoesNotAnswerOnlyAPeriod) {
  works_["a"] = Works::kStuck;
  probe_.SetTable(Table({"a"}));
  RunUntil(now_ + kPeriod);
  EXPECT_FALSE(probe_.Judged());
  RunUntil(now_ + 1);
  EXPECT_TRUE(probe_.Judged());
  EXPECT_FALSE(probe_.AllReady());
}

TEST_F(GoldenProbeTest, TwoRequestsAPeriod) {
  probe_.SetTable(Table({"a", "b", "c"}));
  RunUntil(now_ + 10 * kPeriod - 1);
  EXPECT_EQ(sent_, 3 * 2 * 10);
}

// The heart of it: at whatever moment inference stops, and however the probe stands then, a period
// later the model is not ready; and not before there is a reason.
TEST_F(GoldenProbeTest, NotReadyWithinAPeriodOfAnyMomentAtWhichInferenceStops) {
  for (int64_t offset = 0; offset < kPeriod; offset += kPeriod / 37) {
    works_["a"] = Works::kRight;
    stuck_.clear();
    probe_.SetTable(Table({"a"}, 100 + static_cast<uint32_t>(offset / 1000)));
    RunUntil(now_ + 3 * kPeriod + offset);
    ASSERT_TRUE(probe_.AllReady());
    works_["a"] = Works::kStuck;
    const int64_t stopped = now_;
    bool flipped = false;
    while (now_ < stopped + kPeriod) {
      RunUntil(now_ + kPeriod / 100);
      EXPECT_EQ(probe_.AllReady(), WordsReady());
      EXPECT_EQ(probe_.AllReady(), ModelReady(0));
      flipped = flipped || !probe_.AllReady();
      EXPECT_EQ(flipped, !probe_.AllReady()) << "it does not come back";
    }
    RunUntil(stopped + kPeriod + 1);
    EXPECT_FALSE(probe_.AllReady()) << offset;
    EXPECT_FALSE(WordsReady()) << offset;
    // It works again: the next answer counts, the one from before is too old to.
    works_["a"] = Works::kRight;
    ASSERT_EQ(stuck_.size(), 1u);
    now_ += 5 * kPeriod;
    Answer(stuck_[0], Works::kRight);
    EXPECT_FALSE(probe_.AllReady());
    RunUntil(now_);
    EXPECT_TRUE(probe_.AllReady());
    EXPECT_TRUE(WordsReady());
  }
}

// The words run out by themselves where the lane stands still.
TEST_F(GoldenProbeTest, ALaneThatStandsStillIsSeenInItsWords) {
  probe_.SetTable(Table({"a"}));
  RunUntil(now_ + kPeriod);
  EXPECT_TRUE(WordsReady());
  now_ += kPeriod + 1;  // without a Step
  EXPECT_FALSE(WordsReady());
  EXPECT_LT(words_.models[0].good_until_ns.Get(), static_cast<uint64_t>(now_));
}

TEST_F(GoldenProbeTest, AWrongAnswerCountsAtOnceUntilARightOne) {
  probe_.SetTable(Table({"a", "b"}));
  RunUntil(now_ + kPeriod);
  works_["b"] = Works::kWrong;
  RunUntil(now_ + kPeriod / 2);
  EXPECT_TRUE(ModelReady(0));
  EXPECT_FALSE(ModelReady(1));
  EXPECT_FALSE(probe_.AllReady());
  EXPECT_FALSE(WordsReady());
  EXPECT_EQ(words_.models[1].failure.Get(), static_cast<uint64_t>(GoldenFailure::kWrong));
  // Clients' answers do not show that this one is right.
  probe_.ClientAnswered(1, false, now_);
  EXPECT_FALSE(ModelReady(1));
  works_["b"] = Works::kRight;
  RunUntil(now_ + kPeriod / 2);
  EXPECT_TRUE(probe_.AllReady());
  EXPECT_NE(words_.models[1].failure_ns.Get(), 0u) << "the last failure stays known";
}

TEST_F(GoldenProbeTest, UnderOverloadClientsAnswersAreTheProof) {
  probe_.SetTable(Table({"a", "b"}));
  RunUntil(now_ + kPeriod);
  works_["a"] = works_["b"] = Works::kBusy;
  for (int i = 0; i < 100; ++i) {
    probe_.ClientAnswered(0, false, now_);
    RunUntil(now_ + kPeriod / 10);
    ASSERT_TRUE(ModelReady(0));
  }
  EXPECT_FALSE(ModelReady(1)) << "nobody was answered";
  EXPECT_EQ(words_.models[1].failure.Get(), static_cast<uint64_t>(GoldenFailure::kLate));
  EXPECT_GT(words_.models[0].good_until_ns.Get(), static_cast<uint64_t>(now_));
  // Requests of raw columns go another way: they do not prove this one.
  for (int i = 0; i < 11; ++i) {
    probe_.ClientAnswered(0, true, now_);
    RunUntil(now_ + kPeriod / 10);
  }
  EXPECT_FALSE(ModelReady(0));
}

// What others read is renewed by clients' answers, too.
TEST_F(GoldenProbeTest, UnderOverloadTheWordsFollowTheClients) {
  probe_.SetTable(Table({"a"}));
  RunUntil(now_ + kPeriod);
  works_["a"] = Works::kStuck;
  for (int i = 0; i < 100; ++i) {
    probe_.ClientAnswered(0, false, now_);
    RunUntil(now_ + kPeriod / 10);
    ASSERT_TRUE(WordsReady()) << i;
  }
  RunUntil(now_ + kPeriod + 1);
  EXPECT_FALSE(WordsReady());
}

TEST_F(GoldenProbeTest, ASlowModelHasALongerPeriod) {
  run_ns_ = 3 * kPeriod;
  probe_.SetTable(Table({"a"}));
  RunUntil(now_);
  RunUntil(now_ + 5 * kPeriod);
  EXPECT_TRUE(ModelReady(0));
  EXPECT_EQ(sent_, 1) << "the next is due after six";
  works_["a"] = Works::kStuck;
  RunUntil(now_ + 12 * kPeriod + 1);
  EXPECT_FALSE(ModelReady(0));
}

TEST_F(GoldenProbeTest, ARequestThatEndsWorkersIsAskedEverMoreRarely) {
  works_["a"] = Works::kPoison;
  probe_.SetTable(Table({"a"}));
  RunUntil(now_ + 1000 * kPeriod);
  EXPECT_FALSE(probe_.AllReady());
  EXPECT_LT(sent_, 1000 / 32 + 10);
  EXPECT_GT(sent_, 1000 / 32);
  EXPECT_EQ(words_.models[0].failure.Get() >> 8,
            static_cast<uint64_t>(absl::StatusCode::kInternal));
  works_["a"] = Works::kRight;
  RunUntil(now_ + 33 * kPeriod);
  EXPECT_TRUE(probe_.AllReady());
}

TEST_F(GoldenProbeTest, AModelThatComesLaterDoesNotTakeReadinessAwayBeforeItsVerdict) {
  probe_.SetTable(Table({"a"}));
  RunUntil(now_ + kPeriod);
  works_["b"] = Works::kStuck;
  probe_.SetTable(Table({"a", "b"}));
  RunUntil(now_ + kPeriod / 4);
  EXPECT_TRUE(ModelReady(0)) << "what it showed goes on";
  EXPECT_FALSE(ModelReady(1));
  EXPECT_TRUE(probe_.AllReady());
  EXPECT_TRUE(WordsReady());
  EXPECT_FALSE(probe_.Judged());
  Answer(stuck_[0], Works::kWrong);
  EXPECT_FALSE(probe_.AllReady());
  EXPECT_FALSE(WordsReady());
  EXPECT_TRUE(probe_.Judged());
}

TEST_F(GoldenProbeTest, AnotherVersionOrAnotherExpectationBeginsAnew) {
  probe_.SetTable(Table({"a"}));
  RunUntil(now_ + kPeriod);
  probe_.SetTable(Table({"a"}, 20));
  EXPECT_FALSE(ModelReady(0));
  RunUntil(now_);
  EXPECT_TRUE(ModelReady(0));
  probe_.SetTable(Table({"a"}, 20, 6));
  RunUntil(now_);
  EXPECT_FALSE(ModelReady(0));
}

// An answer that comes after its table is gone changes nothing.
TEST_F(GoldenProbeTest, LateAnswersOfFormerTablesAreDropped) {
  works_["a"] = Works::kStuck;
  auto old = Table({"a"});
  std::weak_ptr<const ModelTable> gone = old;
  probe_.SetTable(std::move(old));
  RunUntil(now_);
  works_["b"] = Works::kRight;
  probe_.SetTable(Table({"b"}, 30));
  RunUntil(now_ + kPeriod);
  EXPECT_TRUE(probe_.AllReady());
  EXPECT_FALSE(gone.expired());
  Answer(stuck_[0], Works::kWrong);
  EXPECT_TRUE(probe_.AllReady());
  RunUntil(now_ + kPeriod);
  EXPECT_TRUE(gone.expired()) << "nothing holds the old catalog any more";
}

TEST_F(GoldenProbeTest, AfterStopNothingIsSentAndWhatIsInFlightIsGivenUp) {
  works_["a"] = Works::kStuck;
  probe_.SetTable(Table({"a", "b"}));
  RunUntil(now_ + kPeriod);
  const int sent = sent_;
  probe_.Stop();
  EXPECT_EQ(cancelled_, std::vector<RequestId>{1});
  RunUntil(now_ + 5 * kPeriod);
  EXPECT_EQ(sent_, sent);
}

TEST_F(GoldenProbeTest, WithoutAPeriodNothingIsSentAndAllIsReady) {
  GoldenProbe off(HostOf(this), 0, 0, &words_);
  EXPECT_FALSE(off.AllReady());
  off.SetTable(Table({"a"}));
  EXPECT_TRUE(off.AllReady());
  EXPECT_TRUE(off.Judged());
  EXPECT_TRUE(off.ModelReady(0).ok());
  EXPECT_TRUE(WordsReady());
  off.Step();
  EXPECT_EQ(sent_, 0);
}

TEST_F(GoldenProbeTest, OnceItRunsItAllocatesNothing) {
  probe_.SetTable(Table({"a", "b"}));
  RunUntil(now_ + kPeriod);
  last_sent_.reserve(64);
  const uint64_t before = Allocations();
  RunUntil(now_ + 20 * kPeriod);
  EXPECT_EQ(Allocations(), before);
}

}  // namespace
}  // namespace millrace
