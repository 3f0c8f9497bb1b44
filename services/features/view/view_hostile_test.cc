// What a view refuses, what it survives, and that it allocates nothing.
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/testing/allocations.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "services/features/view/compiled_view.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<CompiledView> Make(const std::string& text) {
  FeatureView view;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &view)) << text;
  return CompiledView::Make(view);
}

std::string Number(const std::string& transforms) {
  return "name: \"v\" features { column: \"x\" " + transforms + " }";
}

std::string Text(const std::string& transforms) { return Number("type: STRING " + transforms); }

const char kVocabulary[] = "transforms { vocabulary { values: [\"a\", \"b\"] unknown: MISSING } }";

TEST(MakeView, RefusesWithASentenceThatNamesTheTransform) {
  const struct {
    std::string view;
    const char* message;
  } kCases[] = {
      {"name: \"v\"", "feature view 'v' has no features"},
      {"name: \"a\\nb\"", "'a\\nb'"},
      {"features { }", "feature 0 (column ''): it names no column"},
      {"features { column: \"" + std::string(257, 'x') + "\" }", "longer than 256 bytes"},
      {"features { column: \"x\" } " + Text(kVocabulary), "as the other type"},
      {Number("transforms { }"), "transform 0 (none): it has no operation"},
      {Number("transforms { log1p { } } transforms { fill { } }"), "transform 1 (fill): it has no"},
      {Number("transforms { fill { text: \"a\" } }"), "filled with a number"},
      {Number("transforms { fill { number: nan } }"), "must be finite"},
      {Number("transforms { scale { mean: 1 } }"), "std must be finite and above 0"},
      {Number("transforms { scale { mean: inf std: 1 } }"), "mean must be finite"},
      {Number("transforms { scale { mean: 0 std: nan } }"), "std must be"},
      {Number("transforms { scale { mean: 0 std: -1 } }"), "std must be"},
      {Number("transforms { clip { lo: 2 hi: 1 } }"), "lo must not be above hi"},
      {Number("transforms { clip { lo: nan hi: 1 } }"), "must be numbers"},
      {Number("transforms { bucketize { } }"), "one edge or more"},
      {Number("transforms { bucketize { edges: [1, 1] } }"), "edge 1 must be above"},
      {Number("transforms { bucketize { edges: [1, nan] } }"), "edge 1 must be finite"},
      {Number(kVocabulary), "transform 0 (vocabulary): it needs a string"},
      {Number("transforms { one_hot { } }"), "width must be 1 to 65536, not 0"},
      {Number("transforms { one_hot { width: 65537 } }"), "not 65537"},
      {Number("transforms { one_hot { width: 2 } } transforms { log1p { } }"),
       "nothing may follow"},
      {Text(""), "needs a vocabulary"},
      {Text("transforms { fill { text: \"a\" } }"), "needs a vocabulary"},
      {Text("transforms { log1p { } }"), "transform 0 (log1p): it needs a number"},
      {Text("transforms { fill { number: 1 } }"), "filled with text"},
      {Text("transforms { fill { text: \"\" } }"), "the text is empty"},
      {Text("transforms { vocabulary { } }"), "it has no values"},
      {Text("transforms { vocabulary { values: \"\" } }"), "value 0 is empty"},
      {Text("transforms { vocabulary { values: [\"a\", \"a\"] } }"),
       "value 1 'a' stands there twice"},
      {Text("transforms { vocabulary { values: \"a\" unknown: INDEX index: nan } }"), "finite"},
      {Text("transforms { fill { text: \"c\" } } transforms { vocabulary { values: \"a\" } }"),
       "the fill before it, 'c', is not one"},
      {Text(absl::StrCat(kVocabulary, kVocabulary)), "transform 1 (vocabulary): it needs a string"},
      {Text(absl::StrCat(kVocabulary, "transforms { one_hot { width: 1 } }")), "less than the"},
      {Text("transforms { vocabulary { values: \"a\" unknown: INDEX index: 1.5 } } "
            "transforms { one_hot { width: 2 } }"),
       "for unknown values, 1.5"},
  };
  for (const auto& c : kCases) {
    const absl::StatusOr<CompiledView> view = Make(c.view);
    ASSERT_FALSE(view.ok()) << c.view;
    EXPECT_EQ(view.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(view.status().message()), HasSubstr(c.message)) << c.view;
  }
}

TEST(MakeView, RefusesEnumsOfALaterBuild) {
  FeatureView view;
  Feature& feature = *view.add_features();
  feature.set_column("x");
  feature.set_type(static_cast<Feature::Type>(7));
  EXPECT_FALSE(CompiledView::Make(view).ok());
  feature.set_type(Feature::STRING);
  Transform::Vocabulary& v = *feature.add_transforms()->mutable_vocabulary();
  v.add_values("a");
  EXPECT_TRUE(CompiledView::Make(view).ok());
  v.set_unknown(static_cast<Transform::Vocabulary::Unknown>(7));
  EXPECT_FALSE(CompiledView::Make(view).ok());
}

TEST(MakeView, RefusesMoreThanItsLimits) {
  FeatureView view;
  for (size_t i = 0; i < CompiledView::kMaxWidth / 65536; ++i) {
    Feature& feature = *view.add_features();
    feature.set_column("x");
    feature.add_transforms()->mutable_one_hot()->set_width(65536);
  }
  EXPECT_TRUE(CompiledView::Make(view).ok());
  view.add_features()->set_column("y");
  EXPECT_FALSE(CompiledView::Make(view).ok());

  FeatureView many;
  for (size_t i = 0; i < CompiledView::kMaxFeatures; ++i) many.add_features()->set_column("x");
  EXPECT_TRUE(CompiledView::Make(many).ok());
  many.add_features()->set_column("x");
  EXPECT_FALSE(CompiledView::Make(many).ok());

  FeatureView deep;
  deep.add_features()->set_column("x");
  for (size_t i = 0; i < CompiledView::kMaxTransforms; ++i) {
    deep.mutable_features(0)->add_transforms()->mutable_log1p();
  }
  EXPECT_TRUE(CompiledView::Make(deep).ok());
  deep.mutable_features(0)->add_transforms()->mutable_log1p();
  EXPECT_FALSE(CompiledView::Make(deep).ok());
}

Column Bytes(DataType datatype, const std::string& bytes) {
  return {datatype, reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()};
}

std::string Message(const CompiledView& view, const Column& column, size_t rows) {
  std::vector<float> out(64);
  const absl::Status status = view.Apply({column}, rows, out.data());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(ApplyView, RefusesWrongColumns) {
  const CompiledView number = *Make(Number(""));
  const CompiledView text = *Make(Text(kVocabulary));
  const std::string eight(8, '\0');
  float out[8];
  EXPECT_EQ(number.Apply({}, 0, out).message(), "the view reads 1 columns, 0 were sent");
  EXPECT_EQ(Message(number, Bytes(DataType::kBytes, eight), 2),
            "column 'x': a number is needed, BYTES was sent");
  EXPECT_EQ(Message(number, Bytes(DataType::kInvalid, eight), 2),
            "column 'x': a number is needed, INVALID was sent");
  EXPECT_FALSE(number.Apply({Bytes(static_cast<DataType>(200), eight)}, 2, out).ok());
  EXPECT_EQ(Message(text, Bytes(DataType::kFp32, eight), 2),
            "column 'x': BYTES is needed, FP32 was sent");
  EXPECT_EQ(Message(number, Bytes(DataType::kFp32, eight), 3),
            "column 'x': 8 bytes are not 3 elements of FP32");
  EXPECT_EQ(Message(number, Bytes(DataType::kFp64, eight.substr(1)), 1),
            "column 'x': 7 bytes are not 1 elements of FP64");
  // rows * 4 wraps round to 8.
  EXPECT_FALSE(number.Apply({Bytes(DataType::kFp32, eight)}, (size_t{1} << 62) + 2, out).ok());
}

// The column ends where readable memory ends: a read past it is a SIGSEGV.
class GuardedColumn {
 public:
  explicit GuardedColumn(const std::string& bytes) : page_(sysconf(_SC_PAGESIZE)) {
    map_ = static_cast<char*>(
        mmap(nullptr, 2 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(map_ + page_, page_, PROT_NONE);
    char* start = map_ + page_ - bytes.size();
    memcpy(start, bytes.data(), bytes.size());
    column_ = {DataType::kBytes, reinterpret_cast<const std::byte*>(start), bytes.size()};
  }
  ~GuardedColumn() { munmap(map_, 2 * page_); }
  const Column& column() const { return column_; }

 private:
  size_t page_;
  char* map_;
  Column column_;
};

// An independent reading of the format: whether `bytes` is exactly `rows` strings.
bool IsColumnOf(const std::string& bytes, size_t rows) {
  uint64_t at = 0;
  for (size_t row = 0; row < rows; ++row) {
    if (at + 4 > bytes.size()) return false;
    uint64_t length = 0;
    for (int i = 3; i >= 0; --i) length = length << 8 | static_cast<uint8_t>(bytes[at + i]);
    at += 4 + length;
    if (at > bytes.size()) return false;
  }
  return at == bytes.size();
}

TEST(ApplyView, EveryShortStringColumnIsJudgedRightly) {
  // All sequences of these pieces, then every truncation: lengths right, short, huge, wrapping.
  const std::string kPieces[] = {
      std::string("\0\0\0\0", 4),         std::string("\1\0\0\0a", 5),
      std::string("\2\0\0\0", 4),         std::string("\xff\xff\xff\xff", 4),
      std::string("\xfb\xff\xff\xff", 4), std::string("\0\0\0\x80", 4)};
  const CompiledView view = *Make(Text(kVocabulary));
  size_t accepted = 0;
  for (size_t code = 0; code < 6 * 6 * 6; ++code) {
    const std::string all = kPieces[code % 6] + kPieces[code / 6 % 6] + kPieces[code / 36];
    for (size_t size = 0; size <= all.size(); ++size) {
      const std::string bytes = all.substr(0, size);
      const GuardedColumn guarded(bytes);
      for (size_t rows = 0; rows <= 4; ++rows) {
        float out[4];
        const absl::Status status = view.Apply({guarded.column()}, rows, out);
        ASSERT_EQ(status.ok(), IsColumnOf(bytes, rows)) << code << " " << size << " " << rows;
        accepted += status.ok();
      }
    }
  }
  EXPECT_GT(accepted, 50u);
  const GuardedColumn guarded(kPieces[1] + kPieces[3]);
  EXPECT_EQ(Message(view, guarded.column(), 2),
            "column 'x' row 1: the string passes the column's end");
  EXPECT_EQ(Message(view, guarded.column(), 1), "column 'x': 4 bytes follow its 1 strings");
  EXPECT_EQ(Message(view, guarded.column(), SIZE_MAX),
            "column 'x' row 1: the string passes the column's end");
}

TEST(ApplyView, AnyAlignmentWillDo) {
  const CompiledView view = *Make(Number(""));
  for (size_t shift = 0; shift < 8; ++shift) {
    std::string bytes(shift, '\1');
    for (const double value : {1.5, -2.0}) {
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    float out[2];
    const Column column{DataType::kFp64, reinterpret_cast<const std::byte*>(bytes.data()) + shift,
                        2 * sizeof(double)};
    ASSERT_TRUE(view.Apply({column}, 2, out).ok());
    EXPECT_EQ(out[0], 1.5f);
    EXPECT_EQ(out[1], -2.0f);
  }
}

TEST(ApplyView, RowsPastTheFirstChunkAreNamedRight) {
  const CompiledView view = *Make(Number("transforms { one_hot { width: 2 } }"));
  std::vector<uint8_t> values(1000, 1);
  values[777] = 2;
  std::vector<float> out(2000);
  const Column column{DataType::kUint8, reinterpret_cast<const std::byte*>(values.data()), 1000};
  EXPECT_EQ(view.Apply({column}, 1000, out.data()).message(),
            "column 'x' row 777: 2 is no index of a one_hot of width 2");
}

TEST(ApplyView, AllocatesNothing) {
  const CompiledView view = *Make(
      "features { column: \"n\" transforms { fill { number: 1 } } transforms { log1p { } } "
      "           transforms { bucketize { edges: [0, 0.5] } } transforms { one_hot { width: 3 } } "
      "} "
      "features { column: \"s\" type: STRING transforms { vocabulary { values: [\"a\", "
      "           \"a string that is longer than what fits inline\"] unknown: MISSING } } }");
  constexpr size_t kRows = 600;
  std::vector<float> numbers(kRows, std::numeric_limits<float>::quiet_NaN());
  std::string texts;
  const std::string text = "a string that is longer than what fits inline";
  for (size_t i = 0; i < kRows; ++i) {
    const uint32_t length = text.size() - i % 2;
    texts.append(reinterpret_cast<const char*>(&length), sizeof length);
    texts.append(text, 0, length);
  }
  const Column columns[] = {
      {DataType::kFp32, reinterpret_cast<const std::byte*>(numbers.data()), kRows * sizeof(float)},
      Bytes(DataType::kBytes, texts)};
  std::vector<float> out(kRows * view.width());
  const uint64_t before = Allocations();
  const bool ok = view.Apply(columns, kRows, out.data()).ok();
  EXPECT_EQ(Allocations(), before);
  EXPECT_TRUE(ok);
  EXPECT_EQ(out[3], 1.0f);
}

TEST(ApplyView, APeerThatWritesMeanwhileStaysInBounds) {
  // The number and the string's length change while Apply reads them; only the bounds matter.
  const CompiledView view = *Make(
      "features { column: \"n\" transforms { one_hot { width: 4 } } }"
      "features { column: \"s\" type: STRING transforms { vocabulary { values: [\"a\", \"b\"] } } "
      "}");
  void* map = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(map, MAP_FAILED);
  const pid_t test = getpid();
  const pid_t peer = fork();
  ASSERT_GE(peer, 0);
  if (peer == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != test) _exit(0);
    volatile uint32_t* words = static_cast<uint32_t*>(map);
    for (uint32_t i = 0;; ++i) {
      words[0] = i % 3 == 0 ? 0xffffffffu : i % 4;
      words[1] = i % 2 == 0 ? 0 : 0xfffffffcu;
    }
  }
  const std::byte* bytes = static_cast<const std::byte*>(map);
  size_t good = 0;
  size_t in_bounds = 0;
  for (int i = 0; i < 100'000; ++i) {
    float out[5];
    const absl::Status status =
        view.Apply({{DataType::kUint32, bytes, 4}, {DataType::kBytes, bytes + 4, 4}}, 1, out);
    good += status.ok();
    in_bounds += status.ok() && out[0] + out[1] + out[2] + out[3] <= 1.0f;
  }
  kill(peer, SIGKILL);
  waitpid(peer, nullptr, 0);
  munmap(map, 4096);
  EXPECT_EQ(in_bounds, good);
  EXPECT_GT(good, 0u);
}

}  // namespace
}  // namespace millrace
