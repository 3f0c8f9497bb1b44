// What a view computes: small cases by hand, then random views against a naive second writing.
#include <math.h>
#include <string.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "services/features/view/compiled_view.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const float kNan = std::numeric_limits<float>::quiet_NaN();

FeatureView Parse(const std::string& text) {
  FeatureView view;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &view)) << text;
  return view;
}

CompiledView MakeView(const FeatureView& view) {
  absl::StatusOr<CompiledView> compiled = CompiledView::Make(view);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return *std::move(compiled);
}

template <typename T>
Column ColumnOf(DataType datatype, const std::vector<T>& values) {
  return {datatype, reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)};
}

Column Doubles(const std::vector<double>& values) { return ColumnOf(DataType::kFp64, values); }

std::string Encode(const std::vector<std::string>& texts) {
  std::string bytes;
  for (const std::string& text : texts) {
    const uint32_t length = text.size();
    bytes.append(reinterpret_cast<const char*>(&length), sizeof length);
    bytes += text;
  }
  return bytes;
}

Column Texts(const std::string& encoded) {
  return {DataType::kBytes, reinterpret_cast<const std::byte*>(encoded.data()), encoded.size()};
}

std::vector<float> ApplyOk(const CompiledView& view, const std::vector<Column>& columns,
                           size_t rows) {
  std::vector<float> out(rows * view.width(), -99.0f);
  const absl::Status status = view.Apply(columns, rows, out.data());
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  if (!values.empty()) memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

TEST(CompiledView, ColumnsStandInTheOrderOfTheFeatures) {
  const CompiledView view = MakeView(Parse(R"(
    features { column: "b" }
    features { column: "a" type: STRING transforms { vocabulary { values: ["p", "q"] } }
               transforms { one_hot { width: 2 } } }
    features { column: "b" transforms { scale { mean: 1 std: 2 } } })"));
  EXPECT_THAT(view.column_names(), ElementsAre("b", "a"));
  EXPECT_FALSE(view.is_string(0));
  EXPECT_TRUE(view.is_string(1));
  EXPECT_EQ(view.width(), 4u);
  EXPECT_EQ(view.OutputBytes(3), 48u);
  EXPECT_EQ(view.OutputBytes(SIZE_MAX / 8), SIZE_MAX);

  const std::string texts = Encode({"q", "", "p"});
  EXPECT_THAT(ApplyOk(view, {Doubles({3.0, 5.0, 7.0}), Texts(texts)}, 3),
              ElementsAre(3, 0, 1, 1, 5, 0, 0, 2, 7, 1, 0, 3));
}

TEST(CompiledView, UnknownStrings) {
  const auto run = [](const std::string& policy) {
    const CompiledView view = MakeView(Parse(
        "features { column: \"s\" type: STRING transforms { vocabulary { values: [\"a\", \"b\"] " +
        policy + " } } }"));
    return Bits(ApplyOk(view, {Texts(Encode({"b", "", "c"}))}, 3));
  };
  EXPECT_EQ(run("unknown: MISSING"), Bits({1, kNan, kNan}));
  EXPECT_EQ(run("unknown: INDEX index: -1"), Bits({1, kNan, -1}));
}

TEST(CompiledView, AnUnknownStringThatIsRejectedIsNamed) {
  const CompiledView view = MakeView(
      Parse("features { column: \"s\" type: STRING transforms { vocabulary { values: \"a\" } } }"));
  const auto message = [&](const std::string& value) {
    float out[3];
    const absl::Status status = view.Apply({Texts(Encode({"a", "", value}))}, 3, out);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(message("x'\n\xff"), "column 's' row 2: 'x\\'\\n\\xff' is not in the vocabulary");
  EXPECT_EQ(message(std::string(33, 'z')),
            "column 's' row 2: '" + std::string(32, 'z') + "...' is not in the vocabulary");
}

TEST(CompiledView, AFillBeforeTheVocabularyStandsForMissing) {
  const CompiledView view = MakeView(Parse(R"(
    features { column: "s" type: STRING transforms { fill { text: "b" } }
               transforms { vocabulary { values: ["a", "b"] } } }
    features { column: "s" type: STRING transforms { fill { text: "other" } }
               transforms { vocabulary { values: ["a", "b"] unknown: INDEX index: 9 } } })"));
  EXPECT_THAT(ApplyOk(view, {Texts(Encode({"", "a"}))}, 2), ElementsAre(1, 9, 0, 0));
}

TEST(CompiledView, OneHotOfNumbers) {
  const CompiledView view = MakeView(Parse(R"(
    features { column: "n" transforms { one_hot { width: 3 } } })"));
  EXPECT_THAT(ApplyOk(view, {Doubles({2.0, NAN, -0.0})}, 3),
              ElementsAre(0, 0, 1, 0, 0, 0, 1, 0, 0));
  for (const double bad : {3.0, -1.0, 0.5, double{INFINITY}, -double{INFINITY}, 1e300}) {
    float out[6];
    const absl::Status status = view.Apply({Doubles({0.0, bad})}, 2, out);
    EXPECT_THAT(std::string(status.message()), HasSubstr("column 'n' row 1: ")) << bad;
  }
}

TEST(CompiledView, CastToInt64RefusesWhatDoesNotFit) {
  const CompiledView view =
      MakeView(Parse("features { column: \"n\" transforms { cast { to_int64: true } } }"));
  EXPECT_EQ(Bits(ApplyOk(view, {Doubles({-0.9, 2.9, -0x1p63, NAN})}, 4)),
            Bits({0.0f, 2.0f, -0x1p63f, kNan}));
  for (const double bad : {0x1p63, -0x1.0000000000001p63, double{INFINITY}, -double{INFINITY}}) {
    float out;
    EXPECT_FALSE(view.Apply({Doubles({bad})}, 1, &out).ok()) << bad;
  }
}

TEST(CompiledView, EveryHalfIsExact) {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const CompiledView view = MakeView(Parse("features { column: \"n\" }"));
  const std::vector<float> half = ApplyOk(view, {ColumnOf(DataType::kFp16, all)}, all.size());
  const std::vector<float> brain = ApplyOk(view, {ColumnOf(DataType::kBf16, all)}, all.size());
  for (uint32_t i = 0; i < all.size(); ++i) {
    const uint32_t exponent = i >> 10 & 31, fraction = i & 1023, sign = (i >> 15) << 31;
    // Rebias by multiplication: the other way to do it.
    uint32_t word = (exponent << 10 | fraction) << 13;
    float magnitude;
    memcpy(&magnitude, &word, sizeof word);
    magnitude *= 0x1p112f;
    if (exponent == 31) magnitude = fraction == 0 ? INFINITY : NAN;
    EXPECT_EQ(isnan(half[i]), isnan(magnitude)) << i;
    if (!isnan(magnitude)) {
      EXPECT_EQ(half[i], sign ? -magnitude : magnitude) << i;
    }
    EXPECT_EQ(signbit(half[i]) && !isnan(half[i]), sign != 0 && !isnan(magnitude)) << i;

    word = i << 16;
    float wide;
    memcpy(&wide, &word, sizeof word);
    if (isnan(wide)) wide = kNan;
    EXPECT_EQ(Bits({brain[i]}), Bits({wide})) << i;
  }
}

TEST(CompiledView, AnyByteButZeroIsTrue) {
  const CompiledView view = MakeView(Parse("features { column: \"n\" }"));
  EXPECT_THAT(ApplyOk(view, {ColumnOf<uint8_t>(DataType::kBool, {0, 1, 2, 255})}, 4),
              ElementsAre(0, 1, 1, 1));
}

TEST(CompiledView, NoRows) {
  const CompiledView view = MakeView(Parse(R"(
    features { column: "n" }
    features { column: "s" type: STRING transforms { vocabulary { values: "a" } } })"));
  EXPECT_TRUE(view.Apply({Column{DataType::kFp32}, Column{DataType::kBytes}}, 0, nullptr).ok());
}

// The naive second writing: one value at a time, straight from the protobuf.
struct Value {
  bool text = false;
  std::string string;
  double number = NAN;
};

bool NaiveStep(const Transform& t, Value& v) {
  const bool missing = v.text ? v.string.empty() : isnan(v.number);
  if (t.has_fill()) {
    if (!missing) return true;
    if (v.text) v.string = t.fill().text();
    v.number = t.fill().number();
  } else if (t.has_vocabulary()) {
    v.text = false;
    v.number = NAN;
    if (missing) return true;
    for (int i = 0; i < t.vocabulary().values_size(); ++i) {
      if (t.vocabulary().values(i) == v.string) v.number = i;
    }
    if (!isnan(v.number)) return true;
    if (t.vocabulary().unknown() == Transform::Vocabulary::REJECT) return false;
    if (t.vocabulary().unknown() == Transform::Vocabulary::INDEX) v.number = t.vocabulary().index();
  } else if (missing) {
    return true;
  } else if (t.has_cast()) {
    if (t.cast().to_int64() && fabs(v.number) > 0x1p62) return false;
    v.number = t.cast().to_int64() ? trunc(v.number) + 0.0 : double{float(v.number)};
  } else if (t.has_scale()) {
    v.number = (v.number - t.scale().mean()) / t.scale().std();
  } else if (t.has_log1p()) {
    v.number = log1p(v.number);
  } else if (t.has_clip()) {
    if (v.number < t.clip().lo()) v.number = t.clip().lo();
    if (v.number > t.clip().hi()) v.number = t.clip().hi();
  } else if (t.has_bucketize()) {
    int count = 0;
    for (double edge : t.bucketize().edges()) count += edge <= v.number;
    v.number = count;
  } else if (t.has_one_hot()) {
    return v.number >= 0 && v.number < t.one_hot().width() && v.number == floor(v.number);
  }
  return true;
}

bool NaiveFeature(const Feature& feature, Value v, std::vector<float>& out) {
  for (const Transform& t : feature.transforms()) {
    if (!NaiveStep(t, v)) return false;
    if (!t.has_one_hot()) continue;
    for (uint32_t i = 0; i < t.one_hot().width(); ++i) out.push_back(v.number == i);
    return true;
  }
  out.push_back(isnan(v.number) ? kNan : float(v.number));
  return true;
}

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  size_t Below(size_t n) { return random_() % n; }

  double Number() {
    static const double kPick[] = {0.0, -0.0, 1.0, 2.0, 3.0, -1.0, 0.5, NAN, 1e9, INFINITY};
    if (Below(3) == 0) return kPick[Below(std::size(kPick))];
    return std::normal_distribution<double>(0, 5)(random_);
  }

  std::string Text() { return std::string(Below(3), static_cast<char>('a' + Below(3))); }

  Feature MakeFeature() {
    Feature feature;
    const bool text = Below(2) == 0;
    feature.set_type(text ? Feature::STRING : Feature::NUMBER);
    feature.set_column(absl::StrCat(text ? "s" : "n", Below(3)));
    if (text) AddText(feature);
    for (size_t i = Below(4); i > 0; --i) AddNumeric(*feature.add_transforms());
    if (Below(3) == 0) feature.add_transforms()->mutable_one_hot()->set_width(7);
    return feature;
  }

 private:
  void AddText(Feature& feature) {
    if (Below(3) == 0) feature.add_transforms()->mutable_fill()->set_text("a");
    Transform::Vocabulary& v = *feature.add_transforms()->mutable_vocabulary();
    for (const char* value : {"b", "a", "cc", "bb", "aa"}) v.add_values(value);
    v.set_unknown(static_cast<Transform::Vocabulary::Unknown>(Below(3)));
    v.set_index(Below(6));
  }

  void AddNumeric(Transform& t) {
    switch (Below(7)) {
      case 0:
        return t.mutable_cast()->set_to_int64(Below(2) == 0);
      case 1:
        return t.mutable_fill()->set_number(Below(5));
      case 2:
        t.mutable_scale()->set_mean(Below(3));
        return t.mutable_scale()->set_std(0.3);
      case 3:
        t.mutable_log1p();
        return;
      case 4:
        t.mutable_clip()->set_lo(-1.5);
        return t.mutable_clip()->set_hi(4);
      default:
        for (double edge : {-1.0, 0.0, 0.7, 2.0}) t.mutable_bucketize()->add_edges(edge);
    }
  }

  std::mt19937 random_;
};

// A request's columns, kept beside what each holds.
struct Request {
  std::vector<std::vector<Value>> values;  // by column, by row
  std::vector<std::string> encoded;
  std::vector<Column> columns;
};

Request MakeRequest(const CompiledView& view, size_t rows, Generator& g) {
  Request request;
  const size_t count = view.column_names().size();
  request.encoded.resize(count);
  for (size_t c = 0; c < count; ++c) {
    std::vector<Value> column;
    std::string& bytes = request.encoded[c];
    for (size_t row = 0; row < rows; ++row) {
      const Value v{view.is_string(c), g.Text(), g.Number()};
      bytes += v.text ? Encode({v.string})
                      : std::string(reinterpret_cast<const char*>(&v.number), sizeof(double));
      column.push_back(v);
    }
    request.values.push_back(column);
    request.columns.push_back({view.is_string(c) ? DataType::kBytes : DataType::kFp64,
                               reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
  }
  return request;
}

bool Naive(const FeatureView& proto, const CompiledView& view, const Request& request, size_t rows,
           std::vector<float>& out) {
  const auto names = view.column_names();
  for (size_t row = 0; row < rows; ++row) {
    for (const Feature& feature : proto.features()) {
      const size_t c = std::find(names.begin(), names.end(), feature.column()) - names.begin();
      if (!NaiveFeature(feature, request.values[c][row], out)) return false;
    }
  }
  return true;
}

TEST(CompiledView, RandomViewsEqualTheNaiveOnes) {
  size_t good = 0;
  size_t bad = 0;
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    Generator g(seed);
    FeatureView proto;
    for (size_t i = 1 + g.Below(4); i > 0; --i) *proto.add_features() = g.MakeFeature();
    const CompiledView view = MakeView(proto);
    // Now and then more than one chunk.
    const size_t rows = g.Below(50) == 0 ? 250 + g.Below(600) : g.Below(6);
    const Request request = MakeRequest(view, rows, g);
    std::vector<float> expected;
    const bool ok = Naive(proto, view, request, rows, expected);
    std::vector<float> out(rows * view.width());
    const absl::Status status = view.Apply(request.columns, rows, out.data());
    ASSERT_EQ(status.ok(), ok) << seed << " " << status << proto.DebugString();
    (ok ? good : bad) += 1;
    if (ok) {
      ASSERT_EQ(Bits(out), Bits(expected)) << seed << proto.DebugString();
    }
  }
  EXPECT_GT(good, 1000u);
  EXPECT_GT(bad, 300u);
}

}  // namespace
}  // namespace millrace
