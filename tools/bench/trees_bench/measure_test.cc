// The rounds, with subjects that answer from a table and go wrong on demand.
#include "tools/bench/trees_bench/measure.h"

#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <functional>
#include <set>
#include <thread>

#include "common/clock.h"

namespace millrace::bench {
namespace {

constexpr size_t kRows = 12, kGroups = 2;

std::vector<float> TrueMargins() {
  std::vector<float> margins(kRows * kGroups);
  for (size_t i = 0; i < margins.size(); ++i) margins[i] = static_cast<float>(i) + 0.25f;
  return margins;
}

class TableSubject : public Subject {
 public:
  TableSubject(std::string name, std::vector<std::string>* log)
      : name_(std::move(name)), log_(log), answers_(TrueMargins()), written_(answers_.size()) {}

  std::string name() const override { return name_; }
  DataType margin_type() const override { return DataType::kFp32; }
  bool exact() const override { return exact_; }
  bool keeps_margins() const override { return keeps_; }
  absl::Status Prepare(size_t batch) override {
    batch_ = batch;
    return absl::OkStatus();
  }
  bool Call(size_t chunk) override {
    ++calls_;
    if (log_->empty() || log_->back() != name_) log_->push_back(name_);
    asked_.insert(chunk);
    if (on_call_ && !on_call_(calls_)) return true;  // answers nothing
    if (calls_ == fails_at_) return false;
    const size_t elements = batch_ * kGroups;
    for (size_t i = 0; i < elements; ++i) {
      float value = answers_[chunk * elements + i];
      if (calls_ >= wrong_from_ && chunk * elements + i == wrong_element_) {
        value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ 1u);
      }
      written_[(keeps_ ? chunk * elements : 0) + i] = value;
    }
    return true;
  }
  std::string fault() const override { return "the table is closed"; }
  const std::byte* margins(size_t chunk) const override {
    return reinterpret_cast<const std::byte*>(written_.data() +
                                              (keeps_ ? chunk * batch_ * kGroups : 0));
  }
  void Poison() override { written_.assign(written_.size(), -1); }

  bool exact_ = true, keeps_ = true;
  size_t wrong_from_ = SIZE_MAX, wrong_element_ = 0, fails_at_ = SIZE_MAX;
  std::function<bool(size_t)> on_call_;  // what else a call does; false: and nothing more
  size_t calls_ = 0;
  std::set<size_t> asked_;

 private:
  const std::string name_;
  std::vector<std::string>* const log_;
  const std::vector<float> answers_;
  std::vector<float> written_;
  size_t batch_ = 1;
};

class MeasureTest : public testing::Test {
 protected:
  absl::StatusOr<std::vector<Timing>> Run(std::vector<Subject*> subjects, size_t batch) {
    const Rows rows{nullptr, kRows, 1, kGroups};
    return Measure(subjects, rows,
                   {reinterpret_cast<const std::byte*>(truth_.data()), DataType::kFp32}, batch,
                   {.rounds = kRounds, .loop_ns = 20'000}, &random_);
  }
  void ExpectFault(absl::StatusCode code, const std::string& sentence, size_t batch = 4) {
    const auto found = Run({&one_}, batch);
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.status().code(), code);
    EXPECT_NE(found.status().message().find(sentence), std::string::npos)
        << found.status().message();
  }

  static constexpr int kRounds = 40;
  const std::vector<float> truth_ = TrueMargins();
  std::vector<std::string> log_;
  TableSubject one_{"one", &log_}, two_{"two", &log_}, three_{"three", &log_};
  std::mt19937_64 random_{1};
};

TEST_F(MeasureTest, EverySubjectHasEveryRoundAndAllRows) {
  const auto found = Run({&one_, &two_, &three_}, 4);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 3u);
  for (const Timing& timing : *found) {
    EXPECT_EQ(timing.call_ns.size(), static_cast<size_t>(kRounds));
    for (const double ns : timing.call_ns) EXPECT_GT(ns, 0);
  }
  EXPECT_EQ((*found)[1].subject, "two");
  for (const TableSubject* subject : {&one_, &two_, &three_}) {
    EXPECT_EQ(subject->asked_, (std::set<size_t>{0, 1, 2}));
  }
}

TEST_F(MeasureTest, RoundsVisitAllInChangingOrder) {
  ASSERT_TRUE(Run({&one_, &two_, &three_}, 1).ok());
  // Neighbours in the log differ, so a round's first may be merged with the last of the one before:
  // count how often the fixed order one, two, three would have to be left.
  size_t changes = 0;
  for (size_t i = 3; i < log_.size(); ++i) changes += log_[i] != log_[i - 3];
  EXPECT_GT(changes, 10u);
}

TEST_F(MeasureTest, OneWrongBitIsSeenBeforeTheFirstRound) {
  one_.wrong_from_ = 0;
  one_.wrong_element_ = 7 * kGroups + 1;
  ExpectFault(absl::StatusCode::kDataLoss, "batch 4, row 7, group 1: one gives 15.25000");
  EXPECT_LE(one_.calls_, 3u);
}

TEST_F(MeasureTest, OneWrongBitIsSeenInATimedLoop) {
  one_.wrong_from_ = 5;  // after the three calls that learn how long one takes
  one_.wrong_element_ = 2;
  ExpectFault(absl::StatusCode::kDataLoss, "row 1, group 0");
}

TEST_F(MeasureTest, AWrongLastAnswerIsSeenWhereOnlyThatIsKept) {
  one_.keeps_ = false;
  one_.wrong_from_ = 4;
  one_.wrong_element_ = 3;
  ExpectFault(absl::StatusCode::kDataLoss, "row 1, group 1", kRows);
}

TEST_F(MeasureTest, AnAnswerOfAnEarlierCallDoesNotCount) {
  one_.on_call_ = [](size_t call) { return call <= 3; };  // then it only claims to answer
  ExpectFault(absl::StatusCode::kDataLoss, "one gives -1 ");
}

TEST_F(MeasureTest, AFailedCallIsToldWithItsReason) {
  one_.fails_at_ = 2;
  ExpectFault(absl::StatusCode::kInternal, "batch 4, one: the table is closed");
}

TEST_F(MeasureTest, AFailedCallIsToldFromATimedLoop) {
  one_.fails_at_ = 6;
  ExpectFault(absl::StatusCode::kInternal, "batch 4, one: the table is closed");
}

// Another thread that uses 5 ms of processor time, however long that takes.
void WorkElsewhere() {
  std::thread([] {
    timespec used;
    do {
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    } while (used.tv_sec == 0 && used.tv_nsec < 5'000'000);
  }).join();
}

TEST_F(MeasureTest, AThreadThatWorksIsSeen) {
  one_.on_call_ = [](size_t) {
    WorkElsewhere();
    return true;
  };
  ExpectFault(absl::StatusCode::kInternal, "one: other threads of this process ran for");
}

TEST_F(MeasureTest, ALoopBesideAThreadThatWorkedOnceIsRunAgain) {
  one_.on_call_ = [](size_t call) {
    if (call == 8) WorkElsewhere();
    return true;
  };
  const auto found = Run({&one_}, 4);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->front().call_ns.size(), static_cast<size_t>(kRounds));
}

TEST_F(MeasureTest, AThreadThatSleepsDoesNotMatter) {
  std::atomic<bool> end{false};
  std::thread sleeper([&] { end.wait(false); });
  EXPECT_TRUE(Run({&one_}, 4).ok());
  end = true;
  end.notify_one();
  sleeper.join();
}

TEST_F(MeasureTest, WhoSumsOtherwiseIsCountedAndGoesOn) {
  one_.exact_ = false;
  one_.wrong_from_ = 0;
  one_.wrong_element_ = 5;
  const auto found = Run({&one_, &two_}, 4);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ((*found)[0].distances.compared, kRows * kGroups);
  EXPECT_EQ((*found)[0].distances.unequal, 1u);
  EXPECT_EQ((*found)[0].distances.max_ulp, 1u);
  EXPECT_FALSE((*found)[0].exact);
  EXPECT_EQ((*found)[1].distances.unequal, 0u);
}

}  // namespace
}  // namespace millrace::bench
