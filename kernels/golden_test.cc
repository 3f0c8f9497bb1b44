// Every folder of testdata/ is a model with rows and what the library that trained it answered.
// Margins must be equal bit for bit, however the rows are batched; predictions within 1 ulp.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/datatype.h"
#include "kernels/compile/compile.h"
#include "kernels/cpu/cpu_kernel.h"
#include "kernels/kernel.h"
#include "kernels/plan/tree_plan.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr char kRoot[] = "kernels/testdata";

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Case {
  fs::path folder;
  nlohmann::json description;
  std::string model, rows, margin, prediction;

  explicit Case(const fs::path& path)
      : folder(path), description(nlohmann::json::parse(ReadFile(path / "case.json"))) {
    model = ReadFile(path / description.at("model").get<std::string>());
    rows = ReadFile(path / "rows.bin");
    margin = ReadFile(path / "margin.bin");
    prediction = ReadFile(path / "prediction.bin");
  }
  size_t Number(const char* key) const { return description.at(key).get<size_t>(); }
  DataType Type(const char* key) const {
    return description.at(key) == "float64" ? DataType::kFp64 : DataType::kFp32;
  }
};

// Distance in units in the last place; NaN equals NaN.
template <typename Float, typename Int>
uint64_t UlpDistance(Float a, Float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b) ? 0 : UINT64_MAX;
  const auto ordered = [](Float x) -> int64_t {
    const auto bits = std::bit_cast<Int>(x);
    return bits < 0 ? static_cast<int64_t>(std::numeric_limits<Int>::min()) - bits : bits;
  };
  const int64_t x = ordered(a), y = ordered(b);
  return x > y ? static_cast<uint64_t>(x) - y : static_cast<uint64_t>(y) - x;
}

// Compares matrices; `ulps` 0 means equal bits. Reports the first difference.
template <typename Float, typename Int>
::testing::AssertionResult Agree(const std::string& expected, const std::string& actual,
                                 size_t columns, uint64_t ulps, uint64_t* worst) {
  if (expected.size() != actual.size()) {
    return ::testing::AssertionFailure() << expected.size() << " bytes expected, " << actual.size();
  }
  for (size_t i = 0; i < expected.size() / sizeof(Float); ++i) {
    Float e, a;
    memcpy(&e, expected.data() + i * sizeof e, sizeof e);
    memcpy(&a, actual.data() + i * sizeof a, sizeof a);
    const uint64_t distance = std::bit_cast<Int>(e) == std::bit_cast<Int>(a)
                                  ? 0
                                  : std::max<uint64_t>(1, UlpDistance<Float, Int>(e, a));
    *worst = std::max(*worst, distance);
    if (distance > ulps) {
      return ::testing::AssertionFailure()
             << "row " << i / columns << " column " << i % columns << ": expected " << std::hexfloat
             << e << ", got " << a << std::defaultfloat << ", " << distance << " ulp apart";
    }
  }
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult AgreeAs(DataType type, const std::string& expected,
                                   const std::string& actual, size_t columns, uint64_t ulps,
                                   uint64_t* worst) {
  return type == DataType::kFp64 ? Agree<double, int64_t>(expected, actual, columns, ulps, worst)
                                 : Agree<float, int32_t>(expected, actual, columns, ulps, worst);
}

struct Outputs {
  std::string margins, predictions;
};

// Runs the case's rows in batches of the given sizes, over and over.
Outputs RunInBatches(const Kernel& kernel, const Case& c, const std::vector<size_t>& sizes) {
  const KernelShape& shape = kernel.shape();
  const DataType input = c.Type("input_dtype");
  const size_t rows = c.Number("rows");
  const size_t row_bytes = shape.features * DataTypeSize(input);
  const size_t margin_bytes = shape.groups * DataTypeSize(shape.margin_type);
  const size_t prediction_bytes = shape.prediction_columns * DataTypeSize(shape.prediction_type);
  Outputs out = {std::string(rows * margin_bytes, '\xAA'),
                 std::string(rows * prediction_bytes, '\xAA')};
  size_t done = 0;
  for (size_t turn = 0; done < rows; ++turn) {
    const size_t n = std::min(sizes[turn % sizes.size()], rows - done);
    std::vector<std::byte> room(kernel.ScratchBytes(n) + 64);
    const size_t skip = (64 - reinterpret_cast<uintptr_t>(room.data()) % 64) % 64;
    const absl::Span<std::byte> scratch = absl::MakeSpan(room).subspan(skip);
    const KernelPiece piece = {.input = c.rows.data() + done * row_bytes,
                               .rows = n,
                               .margins = out.margins.data() + done * margin_bytes,
                               .predictions = out.predictions.data() + done * prediction_bytes};
    const KernelBatch batch = {.input_type = input, .pieces = {&piece, 1}, .scratch = scratch};
    EXPECT_TRUE(kernel.Run(batch).ok());
    done += n;
  }
  return out;
}

std::vector<const KernelBackend*> Backends() {
  std::vector<const KernelBackend*> all = {&ReferenceBackend()};
  for (const cpu::Level* level : cpu::SupportedLevels()) all.push_back(&CpuBackendOf(*level));
  return all;
}

class GoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, AgreesWithTheLibrary) {
  const Case c(fs::path(kRoot) / GetParam());
  const auto format = ParseModelFormat(c.description.at("format").get<std::string>());
  ASSERT_TRUE(format.ok()) << format.status();
  const auto compiled = CompileModel(c.model, ModelFormat::kAuto);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_EQ(compiled->format, *format) << "detected by content";
  const auto kernel = ReferenceBackend().OpenPlan(compiled->plan);
  ASSERT_TRUE(kernel.ok()) << kernel.status();

  const KernelShape& shape = (*kernel)->shape();
  ASSERT_EQ(shape.features, c.Number("features"));
  ASSERT_EQ(shape.groups, c.Number("groups"));
  ASSERT_EQ(shape.prediction_columns, c.Number("prediction_columns"));
  ASSERT_EQ(shape.margin_type, c.Type("margin_dtype"));
  ASSERT_EQ(shape.prediction_type, c.Type("prediction_dtype"));
  ASSERT_TRUE(shape.Accepts(c.Type("input_dtype")));
  ASSERT_EQ(c.rows.size(), c.Number("rows") * shape.features * DataTypeSize(c.Type("input_dtype")));

  const Outputs whole = RunInBatches(**kernel, c, {c.Number("rows")});
  uint64_t margin_ulps = 0, prediction_ulps = 0;
  EXPECT_TRUE(AgreeAs(shape.margin_type, c.margin, whole.margins, shape.groups, 0, &margin_ulps))
      << "margins of " << c.folder;
  EXPECT_TRUE(AgreeAs(shape.prediction_type, c.prediction, whole.predictions,
                      shape.prediction_columns, 1, &prediction_ulps))
      << "predictions of " << c.folder;
  RecordProperty("prediction_ulps", static_cast<int>(prediction_ulps));
  for (const KernelBackend* backend : Backends()) {
    const auto other = backend->OpenPlan(compiled->plan);
    ASSERT_TRUE(other.ok()) << other.status();
    for (const std::vector<size_t>& sizes : {std::vector<size_t>{1}, {1, 2, 3, 5, 7, 11, 13, 50}}) {
      const Outputs split = RunInBatches(**other, c, sizes);
      EXPECT_EQ(split.margins, whole.margins) << backend->name() << ", or a row's batch";
      EXPECT_EQ(split.predictions, whole.predictions) << backend->name() << ", or a row's batch";
    }
  }
}

std::vector<std::string> Cases() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(kRoot)) {
    if (fs::exists(entry.path() / "case.json")) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string TestName(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, ::testing::ValuesIn(Cases()), TestName);

// A suite that lost its data must not pass.
TEST(GoldenData, IsThere) { EXPECT_GE(Cases().size(), 30u); }

}  // namespace
}  // namespace millrace
