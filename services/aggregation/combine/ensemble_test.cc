// Weighted mean and vote against a naive second writing; what is refused.
#include "services/aggregation/combine/ensemble.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A prediction that owns its bytes, at an odd address.
class Owned {
 public:
  Owned(DataType datatype, size_t columns, const std::vector<double>& values)
      : datatype_(datatype), columns_(columns), rows_(values.size() / columns), bytes_(1) {
    for (const double value : values) {
      const float single = static_cast<float>(value);
      const bool wide = datatype == DataType::kFp64;
      const std::byte* from = wide ? reinterpret_cast<const std::byte*>(&value)
                                   : reinterpret_cast<const std::byte*>(&single);
      bytes_.insert(bytes_.end(), from, from + (wide ? sizeof value : sizeof single));
    }
  }
  Matrix matrix() const {
    return {datatype_, bytes_.data() + 1, bytes_.size() - 1, rows_, columns_};
  }

 private:
  DataType datatype_;
  size_t columns_;
  size_t rows_;
  std::vector<std::byte> bytes_;
};

CompiledEnsemble MakeEnsemble(Combine combine, const std::vector<double>& weights,
                              DataType result) {
  absl::StatusOr<CompiledEnsemble> ensemble = CompiledEnsemble::Make(combine, weights, result);
  EXPECT_TRUE(ensemble.ok()) << ensemble.status();
  return *std::move(ensemble);
}

template <typename T>
std::vector<T> Combined(const CompiledEnsemble& ensemble, const std::vector<Owned>& members) {
  std::vector<Matrix> matrices;
  for (const Owned& member : members) matrices.push_back(member.matrix());
  const size_t bytes = ensemble.ResultBytes(matrices[0].rows, matrices[0].columns);
  std::vector<std::byte> out(bytes + 1);
  const absl::Status status = ensemble.Apply(matrices, absl::MakeSpan(out.data() + 1, bytes));
  EXPECT_TRUE(status.ok()) << status;
  std::vector<T> values(bytes / sizeof(T));
  if (bytes > 0) memcpy(values.data(), out.data() + 1, bytes);
  return values;
}

TEST(WeightedMean, MembersMayDifferInDatatype) {
  const CompiledEnsemble ensemble = MakeEnsemble(WEIGHTED_MEAN, {3, 1}, DataType::kFp64);
  EXPECT_THAT(Combined<double>(ensemble, {Owned(DataType::kFp32, 2, {1, 2}),
                                          Owned(DataType::kFp64, 2, {5, 10})}),
              ElementsAre(2.0, 4.0));
}

TEST(WeightedMean, IsNotFused) {
  // w*p is 1 - 2^-106, which rounds to 1: with a fused multiply-add the sum is not 0.
  const double w = 1 + 0x1p-52;
  const double p = 1 - 0x1p-52;
  const CompiledEnsemble ensemble = MakeEnsemble(WEIGHTED_MEAN, {1, w}, DataType::kFp64);
  EXPECT_THAT(Combined<double>(
                  ensemble, {Owned(DataType::kFp64, 1, {-w * p}), Owned(DataType::kFp64, 1, {p})}),
              ElementsAre(0.0));
}

TEST(WeightedMean, GoesFromLeftToRight) {
  const std::vector<Owned> members = {Owned(DataType::kFp64, 1, {0x1p53}),
                                      Owned(DataType::kFp64, 1, {1}),
                                      Owned(DataType::kFp64, 1, {1})};
  EXPECT_THAT(Combined<double>(MakeEnsemble(WEIGHTED_MEAN, {1, 1, 1}, DataType::kFp64), members),
              ElementsAre(0x1p53 / 3));  // (2^53 + 1) + 1 is 2^53; 2^53 + (1 + 1) is not
}

TEST(WeightedMean, RandomOnesEqualTheDefinition) {
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  for (int i = 0; i < 2000; ++i) {
    const size_t count = 1 + random() % 5, rows = random() % 4, columns = 1 + random() % 4;
    const bool narrow = random() % 2;
    std::vector<double> weights, flat;
    std::vector<Owned> members;
    std::vector<std::vector<double>> values;
    for (size_t m = 0; m < count; ++m) {
      weights.push_back(m == 0 ? 0.25 : fabs(normal(random)));
      const DataType datatype = random() % 2 ? DataType::kFp32 : DataType::kFp64;
      std::vector<double> v(rows * columns);
      for (double& x : v) {
        x = normal(random);
        if (datatype == DataType::kFp32) x = static_cast<float>(x);
      }
      members.emplace_back(datatype, columns, v);
      values.push_back(v);
    }
    // Volatile: the compiler can neither fuse nor reorder.
    volatile double total = 0;
    for (double w : weights) total = total + w;
    std::vector<double> expected;
    for (size_t e = 0; e < rows * columns; ++e) {
      volatile double sum = 0;
      for (size_t m = 0; m < count; ++m) {
        volatile double product = weights[m] * values[m][e];
        sum = sum + product;
      }
      expected.push_back(sum / total);
    }
    if (narrow) {
      const auto out =
          Combined<float>(MakeEnsemble(WEIGHTED_MEAN, weights, DataType::kFp32), members);
      ASSERT_EQ(out, std::vector<float>(expected.begin(), expected.end()));
    } else {
      ASSERT_EQ(Combined<double>(MakeEnsemble(WEIGHTED_MEAN, weights, DataType::kFp64), members),
                expected);
    }
  }
}

TEST(Vote, EveryVoteOfThreeMembersOverThreeClasses) {
  const std::vector<double> weights = {0.5, 0.3, 0.4};
  const CompiledEnsemble ensemble = MakeEnsemble(VOTE, weights, DataType::kFp64);
  for (size_t code = 0; code < 27; ++code) {
    const size_t votes[] = {code % 3, code / 3 % 3, code / 9};
    std::vector<Owned> members;
    for (const size_t vote : votes) {
      std::vector<double> row(3, 0.1);
      row[vote] = 0.2;
      members.emplace_back(DataType::kFp32, 3, row);
    }
    std::vector<double> expected(3, 0.0);
    for (size_t m = 0; m < 3; ++m) expected[votes[m]] += weights[m];
    for (double& share : expected) share /= 0.5 + 0.3 + 0.4;
    EXPECT_EQ(Combined<double>(ensemble, members), expected) << code;
  }
}

TEST(Vote, ASingleColumnIsTheShareOfClassOne) {
  const CompiledEnsemble ensemble = MakeEnsemble(VOTE, {1, 1, 2}, DataType::kFp32);
  EXPECT_THAT(Combined<float>(ensemble, {Owned(DataType::kFp32, 1, {0.9, 0.1, 0.5}),
                                         Owned(DataType::kFp64, 1, {0.6, 0.1, 0.4}),
                                         Owned(DataType::kFp32, 1, {0.4, 0.1, 0.5})}),
              ElementsAre(0.5f, 0.0f, 0.75f));
}

TEST(Ensemble, RefusesWhatDoesNotCombine) {
  const double kBig = std::numeric_limits<double>::max();
  const struct {
    Combine combine;
    std::vector<double> weights;
    DataType result;
    const char* message;
  } kCases[] = {
      {COMBINE_NONE, {1}, DataType::kFp32, "combine must be WEIGHTED_MEAN or VOTE, not 0"},
      {static_cast<Combine>(9), {1}, DataType::kFp32, "not 9"},
      {VOTE, {}, DataType::kFp32, "1 to 256 members, not 0"},
      {VOTE, std::vector<double>(257, 1), DataType::kFp32, "not 257"},
      {VOTE, {1}, DataType::kInt64, "FP32 or FP64, not INT64"},
      {VOTE, {1, -1}, DataType::kFp32, "weight of member 1"},
      {VOTE, {NAN}, DataType::kFp32, "weight of member 0"},
      {VOTE, {0, 0}, DataType::kFp32, "sum must be finite and above 0"},
      {VOTE, {kBig, kBig}, DataType::kFp32, "sum must be finite"},
  };
  for (const auto& c : kCases) {
    const auto ensemble = CompiledEnsemble::Make(c.combine, c.weights, c.result);
    ASSERT_FALSE(ensemble.ok()) << c.message;
    EXPECT_THAT(std::string(ensemble.status().message()), HasSubstr(c.message));
  }
}

TEST(Ensemble, RefusesMembersThatDoNotMatch) {
  const CompiledEnsemble ensemble = MakeEnsemble(WEIGHTED_MEAN, {1, 1}, DataType::kFp32);
  const Owned wide(DataType::kFp32, 2, {1, 2, 3, 4});
  const Owned narrow(DataType::kFp32, 1, {1, 2, 3, 4});
  std::vector<std::byte> out(16);
  const auto message = [&](const std::vector<Matrix>& members) {
    return std::string(ensemble.Apply(members, absl::MakeSpan(out)).message());
  };
  EXPECT_EQ(message({wide.matrix(), wide.matrix()}), "");
  EXPECT_EQ(message({wide.matrix()}), "the ensemble has 2 members, 1 predictions came");
  EXPECT_EQ(message({wide.matrix(), narrow.matrix()}),
            "member 1 predicted [4, 1], member 0 [2, 2]");
  Matrix bad = wide.matrix();
  bad.bytes -= 1;
  EXPECT_EQ(message({wide.matrix(), bad}), "member 1: prediction: 15 bytes are not [2, 2] of FP32");
  EXPECT_EQ(ensemble.ResultBytes(SIZE_MAX / 2, 2), SIZE_MAX);
}

}  // namespace
}  // namespace millrace
