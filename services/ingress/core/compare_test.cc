#include "services/ingress/core/compare.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <deque>
#include <initializer_list>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace millrace {
namespace {

// Answers, made column by column.
class Answer {
 public:
  template <typename T>
  Answer& Add(std::string_view name, DataType type, std::vector<int64_t> shape,
              const std::vector<T>& values) {
    return Raw(name, type, std::move(shape),
               {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
  }
  Answer& Floats(std::vector<int64_t> shape, const std::vector<float>& values) {
    return Add("prediction", DataType::kFp32, std::move(shape), values);
  }
  Answer& Text(std::string_view name, std::vector<int64_t> shape,
               const std::vector<std::string>& values) {
    std::string raw;
    for (const std::string& value : values) {
      const auto length = static_cast<uint32_t>(value.size());
      raw.append(reinterpret_cast<const char*>(&length), sizeof length).append(value);
    }
    return Raw(name, DataType::kBytes, std::move(shape), raw);
  }
  Answer& Raw(std::string_view name, DataType type, std::vector<int64_t> shape, std::string raw) {
    raws_.push_back(std::move(raw));
    shapes_.push_back(std::move(shape));
    views_.push_back({name, type, shapes_.back(), raws_.back()});
    return *this;
  }
  absl::Span<const TensorView> views() const { return views_; }

 private:
  std::deque<std::string> raws_;
  std::deque<std::vector<int64_t>> shapes_;
  std::vector<TensorView> views_;
};

Comparison Compare(const Answer& a, const Answer& b, ScoreScale scale = ScoreScale::kGuess) {
  return CompareOutputs(a.views(), b.views(), scale);
}

TEST(Compare, ProbabilitiesAreDecidedAtOneHalf) {
  Answer a, b;
  a.Floats({4, 1}, {0.1f, 0.49f, 0.5f, 0.9f});
  b.Floats({4, 1}, {0.2f, 0.51f, 0.5f, 0.8f});
  const Comparison seen = Compare(a, b);
  EXPECT_EQ(seen.rows, 4u);
  EXPECT_EQ(seen.changed, 1u);
  EXPECT_EQ(seen.cosine_loss_ppm, 0u);
  EXPECT_EQ(seen.ranked, 1u);
}

TEST(Compare, NumbersAreHeldAgainstTheTolerance) {
  Answer a, b;
  a.Floats({5, 1}, {100, 100, -0.0f, 0.2f, -10});
  b.Floats({5, 1}, {109, 120, 0.0f, 0.3f, -10.5f});
  EXPECT_EQ(Compare(a, b).changed, 2u);
  EXPECT_EQ(Compare(a, b, ScoreScale::kProbability).changed, 0u);
  Answer c, d;  // within [0, 1], but a regressor's
  c.Floats({1, 1}, {0.1f});
  d.Floats({1, 1}, {0.3f});
  EXPECT_EQ(Compare(c, d).changed, 0u);
  EXPECT_EQ(Compare(c, d, ScoreScale::kNumber).changed, 1u);
}

TEST(Compare, TheArgMaxAndTheAngleOfVectors) {
  Answer a, b;
  a.Floats({3, 2}, {1, 0, 0.6f, 0.4f, 0.5f, 0.5f});
  b.Floats({3, 2}, {0, 1, 0.6f, 0.4f, 0.5f, 0.5f});
  const Comparison seen = Compare(a, b);
  EXPECT_EQ(seen.changed, 1u);
  EXPECT_EQ(seen.cosine_loss_ppm, 1'000'000u);  // a right angle
  EXPECT_EQ(seen.ranked, 0u);
  Answer c, d;
  c.Add<double>("p", DataType::kFp64, {3, 3}, {1, 2, 3, 0, 0, 0, 0, 0, 0});
  d.Add<double>("p", DataType::kFp64, {3, 3}, {-1, -2, -3, 0, 0, 0, 1, 0, 0});
  EXPECT_EQ(Compare(c, d).cosine_loss_ppm, 3'000'000u);  // opposite; both null; one null
}

// cos((1,2,3), (2,2,4)) = 18 / sqrt(14 * 24), by hand.
TEST(Compare, AnAngleByHand) {
  Answer a, b;
  a.Floats({1, 3}, {1, 2, 3});
  b.Floats({1, 3}, {2, 2, 4});
  EXPECT_EQ(Compare(a, b).cosine_loss_ppm,
            static_cast<uint64_t>(llround((1 - 18 / sqrt(14.0 * 24)) * 1e6)));
}

// Ranks 1 2.5 2.5 4 and 1 2 3.5 3.5: correlation 3.75 / 4.5, by hand.
TEST(Compare, SpearmanWithTies) {
  Answer a, b;
  a.Floats({4, 1}, {10, 20, 20, 30});
  b.Floats({4, 1}, {1, 2, 3, 3});
  const Comparison seen = Compare(a, b);
  EXPECT_EQ(seen.ranked, 1u);
  EXPECT_EQ(seen.rank_loss_ppm, static_cast<uint64_t>(llround((1 - 3.75 / 4.5) / 2 * 1e6)));
}

TEST(Compare, OrdersOfARow) {
  const auto loss = [](std::vector<float> x, std::vector<float> y) {
    Answer a, b;
    a.Floats({static_cast<int64_t>(x.size()), 1}, x);
    b.Floats({static_cast<int64_t>(y.size()), 1}, y);
    const Comparison seen = Compare(a, b);
    return seen.ranked == 0 ? -1 : static_cast<int64_t>(seen.rank_loss_ppm);
  };
  EXPECT_EQ(loss({1, 2, 3}, {7, 8, 9}), 0);
  EXPECT_EQ(loss({1, 2, 3}, {9, 8, 7}), 1'000'000);
  EXPECT_EQ(loss({1, 2, 3}, {5, 5, 5}), 500'000);  // one that always says the same
  EXPECT_EQ(loss({4, 4}, {5, 5}), -1);
  EXPECT_EQ(loss({4}, {5}), -1);
  std::vector<float> up, down;  // more than are ranked
  for (int i = 0; i < 1000; ++i) up.push_back(i), down.push_back(-i);
  EXPECT_EQ(loss(up, down), 1'000'000);
}

TEST(Compare, ClassesAndLabelsDecideWhereTheyAre) {
  Answer a, b;
  a.Floats({3, 1}, {0.4f, 0.4f, 0.4f});
  b.Floats({3, 1}, {0.6f, 0.4f, 0.4f});  // a decision by itself, but the class says the same
  a.Add<int64_t>("class", DataType::kInt64, {3, 1}, {0, 1, 2});
  b.Add<int64_t>("class", DataType::kInt64, {3, 1}, {0, 1, 7});
  a.Text("label", {3, 1}, {"no", "yes", "no"});
  b.Text("label", {3, 1}, {"no", "maybe", "yes"});
  EXPECT_EQ(Compare(a, b).changed, 2u);
}

TEST(Compare, OfATopKTheFirstWithoutItsScore) {
  Answer a, b;
  a.Text("top", {3, 2}, {"0.9:1:cat", "0.1:0:dog", "0.6:0:dog", "0.4:1:cat", "12:30", "x"});
  b.Text("top", {3, 2}, {"0.8:1:cat", "0.15:3:owl", "0.6:1:cat", "0.4:0:dog", "13:30", "x"});
  EXPECT_EQ(Compare(a, b).changed, 1u);
  Answer c, d;  // labels that merely hold a colon
  c.Text("label", {2, 1}, {"risk:high", "a:1"});
  d.Text("label", {2, 1}, {"risk:low", "b:1"});
  EXPECT_EQ(Compare(c, d).changed, 2u);
}

TEST(Compare, WhatDoesNotFitHasChanged) {
  Answer a, missing, type, shape, cut, rows;
  a.Floats({2, 2}, {1, 2, 3, 4});
  missing.Add<float>("other", DataType::kFp32, {2, 2}, {1, 2, 3, 4});
  type.Add<double>("prediction", DataType::kFp64, {2, 2}, {1, 2, 3, 4});
  shape.Floats({2, 3}, {1, 2, 3, 4, 5, 6});
  cut.Floats({2, 2}, {1, 2, 3});
  rows.Floats({1, 2}, {1, 2});
  for (const Answer* other : {&missing, &type, &shape, &cut, &rows}) {
    const Comparison seen = Compare(a, *other);
    EXPECT_EQ(seen.rows, 2u);
    EXPECT_EQ(seen.changed, 2u);
    EXPECT_EQ(seen.cosine_loss_ppm, 2'000'000u);
  }
  Answer column, none;
  column.Floats({2, 1}, {1, 2});
  EXPECT_EQ(Compare(column, none).rank_loss_ppm, 1'000'000u);
  EXPECT_EQ(Compare(none, column).rows, 0u);
  Answer same;
  same.Floats({2, 2}, {1, 2, 3, 4});
  EXPECT_EQ(Compare(a, same).changed, 0u);
}

TEST(Compare, NotANumber) {
  Answer a, b;
  a.Floats({3, 2}, {NAN, 1, 1, 2, 1, 2});
  b.Floats({3, 2}, {NAN, 1, NAN, 2, 1, 2});
  Comparison seen = Compare(a, b);
  EXPECT_EQ(seen.changed, 1u);
  EXPECT_EQ(seen.cosine_loss_ppm, 1'000'000u);
  Answer c, d;
  c.Floats({2, 1}, {1, 2});
  d.Floats({2, 1}, {1, NAN});
  seen = Compare(c, d);
  EXPECT_EQ(seen.changed, 1u);
  EXPECT_EQ(seen.rank_loss_ppm, 1'000'000u);
  Answer e, f;  // beside a class that is the same
  e.Floats({1, 1}, {1}).Add<int64_t>("class", DataType::kInt64, {1, 1}, {0});
  f.Floats({1, 1}, {NAN}).Add<int64_t>("class", DataType::kInt64, {1, 1}, {0});
  EXPECT_EQ(Compare(e, f).changed, 1u);
  Answer g, h;
  g.Floats({1, 2}, {INFINITY, 1});
  h.Floats({1, 2}, {1, 1});
  EXPECT_EQ(Compare(g, h).cosine_loss_ppm, 1'000'000u);
  EXPECT_EQ(Compare(g, g).cosine_loss_ppm, 0u);
}

TEST(Compare, TextWithHostileLengths) {
  Answer a, b;
  a.Text("label", {2, 1}, {"x", "y"});
  b.Raw("label", DataType::kBytes, {2, 1},
        std::string("\xff\xff\xff\xff"
                    "abc",
                    7));
  EXPECT_EQ(Compare(a, b).changed, 2u);
  EXPECT_EQ(Compare(b, a).changed, 2u);
  Answer huge;
  huge.Raw("label", DataType::kBytes, {2, INT64_MAX, INT64_MAX}, "abc");
  EXPECT_EQ(Compare(huge, a).changed, 2u);
}

TEST(Compare, ObjectivesSayWhatAColumnIs) {
  EXPECT_EQ(ScoreScaleOf("binary:logistic"), ScoreScale::kProbability);
  EXPECT_EQ(ScoreScaleOf("binary"), ScoreScale::kProbability);
  EXPECT_EQ(ScoreScaleOf("binary:logitraw"), ScoreScale::kNumber);
  EXPECT_EQ(ScoreScaleOf("reg:squarederror"), ScoreScale::kNumber);
  EXPECT_EQ(ScoreScaleOf("regression"), ScoreScale::kNumber);
  EXPECT_EQ(ScoreScaleOf("multi:softprob"), ScoreScale::kGuess);
}

}  // namespace
}  // namespace millrace
