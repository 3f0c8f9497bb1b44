#include "tools/bench/subjects/rounds.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(RoundsTest, MedianOfOddEvenAndNone) {
  EXPECT_EQ(Median({}), 0);
  EXPECT_EQ(Median({3}), 3);
  EXPECT_EQ(Median({9, 1, 5}), 5);
  EXPECT_EQ(Median({4, 1, 3, 2}), 2);
}

// A subject that writes down its visits, slow in one round of three.
class Recorder {
 public:
  Subject Make(const std::string& name, int64_t first_us, bool second_case) {
    Subject subject;
    subject.name = name;
    subject.settle = [this, name] { order_ += name; };
    if (second_case) subject.leave = [this] { order_ += "."; };
    subject.cases.push_back([this, first_us] {
      order_ += "1";
      return Report(++visits_ > 4 ? 1000 * first_us : first_us);
    });
    subject.cases.emplace_back();
    if (second_case) {
      subject.cases[1] = [this, first_us] {
        order_ += "2";
        return Report(2 * first_us);
      };
    }
    return subject;
  }
  const std::string& order() const { return order_; }

 private:
  static LoadReport Report(int64_t us) {
    LoadReport report;
    report.latencies_ns = {us * 1000, us * 1000, us * 5000};
    report.answered = 3;
    report.seconds = 1e-6 * static_cast<double>(us);
    report.failed = report.mismatched = 1;
    return report;
  }
  std::string order_;
  int visits_ = 0;
};

TEST(RoundsTest, SubjectsTakeTurnsAndFiguresAreMedians) {
  Recorder recorder;
  const auto figures = RunRounds({recorder.Make("a", 10, true), recorder.Make("b", 20, false)}, 3);
  EXPECT_EQ(recorder.order(), "a12.b1b1a12.a12.b1");
  ASSERT_EQ(figures.size(), 2u);
  ASSERT_EQ(figures[0].size(), 2u);
  EXPECT_EQ(figures[0][0].subject, "a");
  EXPECT_EQ(figures[0][0].p50_us, 10) << "the median does not see the slow round";
  EXPECT_EQ(figures[0][0].p99_us, 50);
  EXPECT_NEAR(figures[0][0].requests_per_s, 300'000, 1);
  EXPECT_EQ(figures[0][0].failed, 6);
  EXPECT_EQ(figures[0][1].p50_us, 20);
  ASSERT_EQ(figures[0][0].rounds.size(), 3u);
  EXPECT_EQ(figures[0][0].rounds[2].p50_us, 10'000);
  ASSERT_EQ(figures[1].size(), 1u) << "b has no part in it";
  EXPECT_EQ(figures[1][0].p50_us, 20);
}

}  // namespace
}  // namespace millrace
