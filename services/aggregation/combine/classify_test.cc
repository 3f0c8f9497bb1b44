// Class, label and top-k against small cases by hand and a naive second writing.
#include "services/aggregation/combine/classify.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

#include "common/testing/allocations.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const double kInf = std::numeric_limits<double>::infinity();

template <typename T>
Matrix MatrixOf(const std::vector<T>& values, size_t columns) {
  return {sizeof(T) == 8 ? DataType::kFp64 : DataType::kFp32,
          reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T),
          values.size() / columns, columns};
}

OutputSpec Spec(OutputKind kind, std::vector<std::string> labels = {}, uint32_t k = 0) {
  OutputSpec spec;
  spec.set_kind(kind);
  for (const std::string& label : labels) spec.add_labels(label);
  spec.set_top_k(k);
  return spec;
}

CompiledOutput MakeOutput(const OutputSpec& spec, size_t columns) {
  absl::StatusOr<CompiledOutput> output = CompiledOutput::Make(spec, columns);
  EXPECT_TRUE(output.ok()) << output.status();
  return *std::move(output);
}

std::vector<std::byte> Written(const CompiledOutput& output, const Matrix& prediction) {
  const absl::StatusOr<size_t> bytes = output.Bytes(prediction);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_LE(*bytes, output.MaxBytes(prediction.rows));
  std::vector<std::byte> out(*bytes);
  const absl::Status status = output.Write(prediction, absl::MakeSpan(out));
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

std::vector<int64_t> Classes(const CompiledOutput& output, const Matrix& prediction) {
  const std::vector<std::byte> out = Written(output, prediction);
  std::vector<int64_t> classes(out.size() / sizeof(int64_t));
  memcpy(classes.data(), out.data(), out.size());
  return classes;
}

std::vector<std::string> Texts(const CompiledOutput& output, const Matrix& prediction) {
  const std::vector<std::byte> out = Written(output, prediction);
  std::vector<std::string> texts;
  for (size_t at = 0; at < out.size();) {
    uint32_t length;
    memcpy(&length, &out.at(at), sizeof length);
    texts.emplace_back(reinterpret_cast<const char*>(out.data()) + at + 4, length);
    at += 4 + length;
    EXPECT_LE(at, out.size());
  }
  return texts;
}

TEST(Class, ASingleColumnIsCutAtOneHalf) {
  const std::vector<float> p = {0.5f, std::nextafterf(0.5f, 0), 1, 0, NAN, INFINITY, -INFINITY};
  EXPECT_THAT(Classes(MakeOutput(Spec(CLASS), 1), MatrixOf(p, 1)),
              ElementsAre(1, 0, 1, 0, 0, 1, 0));
}

TEST(Class, ArgMaxOfEveryRowOfThree) {
  const std::vector<double> values = {NAN, -kInf, -1.0, -0.0, 0.0, 2.0, kInf};
  const CompiledOutput output = MakeOutput(Spec(CLASS), 3);
  for (double a : values) {
    for (double b : values) {
      for (double c : values) {
        const std::vector<double> row = {a, b, c};
        // The first that no other is greater than; NaN only where nothing else is.
        int64_t expected = 0;
        for (int64_t i = 2; i >= 0; --i) {
          const bool beaten = std::any_of(row.begin(), row.end(), [&](double v) {
            return v > row[i] || (isnan(row[i]) && !isnan(v));
          });
          if (!beaten) expected = i;
        }
        EXPECT_THAT(Classes(output, MatrixOf(row, 3)), ElementsAre(expected)) << a << b << c;
      }
    }
  }
}

OutputSpec FloatSpec(OutputKind kind, int64_t columns) {
  OutputSpec spec = Spec(kind);
  spec.mutable_tensor()->set_datatype(static_cast<uint32_t>(DataType::kFp32));
  spec.mutable_tensor()->add_dims(columns);
  return spec;
}

std::vector<float> Floats(const CompiledOutput& output, const Matrix& prediction) {
  EXPECT_EQ(output.datatype(), DataType::kFp32);
  const std::vector<std::byte> out = Written(output, prediction);
  EXPECT_EQ(out.size(), prediction.rows * output.columns() * sizeof(float));
  std::vector<float> floats(out.size() / sizeof(float));
  memcpy(floats.data(), out.data(), out.size());
  return floats;
}

// What is exactly the threshold is not above it, and a double is compared as the float it is.
TEST(Class, InFloatIsCutAboveItsThreshold) {
  OutputSpec spec = FloatSpec(CLASS, 1);
  const std::vector<float> p = {0.5f, std::nextafterf(0.5f, 1), 0.29f, 0.3f, 0.31f, NAN};
  EXPECT_THAT(Floats(MakeOutput(spec, 1), MatrixOf(p, 1)), ElementsAre(1, 1, 0, 0, 0, 0));
  spec.set_above(0.5f);
  EXPECT_THAT(Floats(MakeOutput(spec, 1), MatrixOf(p, 1)), ElementsAre(0, 1, 0, 0, 0, 0));
  spec.set_above(0.3f);
  EXPECT_THAT(Floats(MakeOutput(spec, 1), MatrixOf(p, 1)), ElementsAre(1, 1, 0, 0, 1, 0));
  const std::vector<double> close = {double{0.3f} + 1e-12, 0.30001};
  EXPECT_THAT(Floats(MakeOutput(spec, 1), MatrixOf(close, 1)), ElementsAre(0, 1));
  const std::vector<double> three = {0.1, 0.7, 0.2};  // columns are compared with each other
  EXPECT_THAT(Floats(MakeOutput(spec, 3), MatrixOf(three, 3)), ElementsAre(1));
}

TEST(Scores, AreThePredictionInFloat) {
  const std::vector<double> p = {0.1, 0.2, 0.7, 1, 0, -3};
  EXPECT_THAT(Floats(MakeOutput(FloatSpec(SCORES, 3), 3), MatrixOf(p, 3)),
              ElementsAre(0.1f, 0.2f, 0.7f, 1, 0, -3));
}

TEST(Scores, OfOneColumnAreBothClassesWhereTwoAreWanted) {
  const std::vector<float> p = {0.25f, 1e-9f};
  EXPECT_THAT(Floats(MakeOutput(FloatSpec(SCORES, 2), 1), MatrixOf(p, 1)),
              ElementsAre(0.75f, 0.25f, 1, 1e-9f));
  EXPECT_THAT(Floats(MakeOutput(FloatSpec(SCORES, 1), 1), MatrixOf(p, 1)),
              ElementsAre(0.25f, 1e-9f));
}

TEST(Label, NamesTheClass) {
  const std::vector<float> two = {0.2f, 0.8f};
  EXPECT_THAT(Texts(MakeOutput(Spec(LABEL, {"no", "yes"}), 1), MatrixOf(two, 1)),
              ElementsAre("no", "yes"));
  EXPECT_THAT(Texts(MakeOutput(Spec(LABEL, {"a", "bb"}), 2), MatrixOf(two, 2)), ElementsAre("bb"));
}

TEST(TopK, HighestFirstTiesByIndexNanLast) {
  const std::vector<double> p = {NAN, 1.5, -0.0, 1.5, 0.0, -kInf};
  const Matrix matrix = MatrixOf(p, 6);
  EXPECT_THAT(
      Texts(MakeOutput(Spec(TOP_K, {}, 6), 6), matrix),
      ElementsAre("1.500000:1", "1.500000:3", "-0.000000:2", "0.000000:4", "-inf:5", "nan:0"));
  EXPECT_THAT(Texts(MakeOutput(Spec(TOP_K, {"a", "b", "c", "d", "e", "f"}, 2), 6), matrix),
              ElementsAre("1.500000:1:b", "1.500000:3:d"));
}

TEST(TopK, RandomRowsEqualASortedWriting) {
  std::mt19937 random(3);
  for (int i = 0; i < 3000; ++i) {
    const size_t columns = 1 + random() % 12;
    const size_t k = 1 + random() % columns;
    const size_t rows = random() % 4;
    std::vector<double> p(rows * columns);
    for (double& v : p) {
      uint64_t bits = uint64_t{random()} << 32 | random();
      if (random() % 2)
        memcpy(&v, &bits, sizeof v);  // any double, NaNs of either sign too
      else
        v = static_cast<double>(random() % 4) / 3;
    }
    std::vector<std::string> expected;
    for (size_t row = 0; row < rows; ++row) {
      const double* values = p.data() + row * columns;
      std::vector<size_t> order(columns);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return (isnan(values[b]) && !isnan(values[a])) || values[a] > values[b];
      });
      for (size_t j = 0; j < k; ++j) {
        char text[400];
        snprintf(text, sizeof text, "%f:%zu", isnan(values[order[j]]) ? NAN : values[order[j]],
                 order[j]);
        expected.push_back(text);
      }
    }
    ASSERT_EQ(Texts(MakeOutput(Spec(TOP_K, {}, k), columns), MatrixOf(p, columns)), expected);
  }
}

TEST(TopK, TheLargestScoreFits) {
  const std::vector<double> p(4, std::numeric_limits<double>::lowest());
  const CompiledOutput output = MakeOutput(Spec(TOP_K, {"x", "longest"}, 2), 2);
  const std::vector<std::string> texts = Texts(output, MatrixOf(p, 2));
  ASSERT_EQ(texts.size(), 4u);
  EXPECT_EQ(texts[0].size(), 317 + 4u);  // ":0:x"
}

TEST(Output, RefusesSpecsThatDoNotFit) {
  const struct {
    OutputSpec spec;
    size_t columns;
    const char* message;
  } kCases[] = {
      {Spec(OUTPUT_INVALID), 2, "kind must be CLASS, LABEL, TOP_K or SCORES, not 0"},
      {FloatSpec(SCORES, 2), 3, "dims: scores of 3 columns cannot be 2"},
      {FloatSpec(SCORES, 3), 1, "dims: scores of 1 columns cannot be 3"},
      {Spec(SCORES), 1, "cannot be 0"},
      {Spec(PREDICTION), 2, "kind must be"},
      {Spec(static_cast<OutputKind>(77)), 2, "not 77"},
      {Spec(CLASS), 0, "prediction_columns must be 1 to 1048576, not 0"},
      {Spec(CLASS), CompiledOutput::kMaxClasses + 1, "prediction_columns"},
      {Spec(LABEL), 2, "labels: 2 are needed, there are 0"},
      {Spec(LABEL, {"a"}), 1, "labels: 2 are needed, there are 1"},
      {Spec(LABEL, {"a", ""}), 2, "label 1 must have 1 to 4096 bytes"},
      {Spec(LABEL, {"a", std::string(4097, 'x')}), 2, "label 1 must have"},
      {Spec(TOP_K, {"a", "b"}, 1), 1, "labels: 1 are needed or none, there are 2"},
      {Spec(TOP_K), 2, "top_k must be 1 to 2, not 0"},
      {Spec(TOP_K, {}, 3), 2, "top_k must be 1 to 2, not 3"},
      {Spec(TOP_K, {}, 1025), 5000, "top_k must be 1 to 1024, not 1025"},
  };
  for (const auto& c : kCases) {
    const absl::StatusOr<CompiledOutput> output = CompiledOutput::Make(c.spec, c.columns);
    ASSERT_FALSE(output.ok()) << c.message;
    EXPECT_THAT(std::string(output.status().message()), HasSubstr(c.message));
  }
}

TEST(Output, RefusesMalformedPredictions) {
  const CompiledOutput output = MakeOutput(Spec(CLASS), 2);
  const std::vector<float> p(4);
  const Matrix good = MatrixOf(p, 2);
  EXPECT_TRUE(output.Bytes(good).ok());
  const auto message = [&](Matrix bad) {
    const absl::StatusOr<size_t> bytes = output.Bytes(bad);
    EXPECT_FALSE(bytes.ok());
    std::byte out[16];
    EXPECT_FALSE(output.Write(bad, absl::MakeSpan(out)).ok());
    return std::string(bytes.status().message());
  };
  EXPECT_EQ(message(MatrixOf(p, 4)), "prediction: 2 columns are needed, not 4");
  Matrix bad = good;
  bad.datatype = DataType::kInt32;
  EXPECT_EQ(message(bad), "prediction: FP32 or FP64 is needed, not INT32");
  bad = good;
  bad.rows = 3;
  EXPECT_EQ(message(bad), "prediction: 16 bytes are not [3, 2] of FP32");
  bad.rows = (size_t{1} << 61) + 2;  // * 2 * 4 wraps round to 16
  EXPECT_THAT(message(bad), HasSubstr("16 bytes are not"));
  bad = good;
  bad.columns = 0;
  EXPECT_THAT(message(bad), HasSubstr("[2, 0]"));
}

TEST(Output, APredictionThatChangedAfterItWasCountedIsAnError) {
  const CompiledOutput output = MakeOutput(Spec(LABEL, {"a", "longer"}), 1);
  std::vector<float> p = {0, 0};
  const size_t bytes = output.Bytes(MatrixOf(p, 1)).value();
  std::vector<std::byte> out(bytes + 8, std::byte{0x5a});
  p[0] = 1;
  EXPECT_FALSE(output.Write(MatrixOf(p, 1), absl::MakeSpan(out.data(), bytes)).ok());
  EXPECT_EQ(std::count(out.begin() + bytes, out.end(), std::byte{0x5a}), 8);
  const size_t longer = output.Bytes(MatrixOf(p, 1)).value();
  p[0] = 0;
  EXPECT_FALSE(output.Write(MatrixOf(p, 1), absl::MakeSpan(out.data(), longer)).ok());
}

TEST(Output, MaxBytesDoesNotWrap) {
  EXPECT_EQ(MakeOutput(Spec(CLASS), 2).MaxBytes(3), 24u);
  EXPECT_EQ(MakeOutput(Spec(CLASS), 2).MaxBytes(SIZE_MAX / 4), SIZE_MAX);
}

TEST(Output, AllocatesNothing) {
  const std::vector<double> p = {1e300, -1e300, 0.5, 3, NAN, 2};
  const Matrix matrix = MatrixOf(p, 2);
  for (const OutputSpec& spec :
       {Spec(CLASS), Spec(LABEL, {"a", "b"}), Spec(TOP_K, {"a", "b"}, 2), FloatSpec(SCORES, 2)}) {
    const CompiledOutput output = MakeOutput(spec, 2);
    std::vector<std::byte> out(output.MaxBytes(3));
    const uint64_t before = Allocations();
    const size_t bytes = output.Bytes(matrix).value();
    const bool ok = output.Write(matrix, absl::MakeSpan(out.data(), bytes)).ok();
    EXPECT_EQ(Allocations(), before);
    EXPECT_TRUE(ok);
  }
}

}  // namespace
}  // namespace millrace
