#include "services/registry/feature_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Faults(const std::string& yaml, uint32_t features = 1) {
  return FormatFaults("v", ParseFeatureView(yaml, features, "input").faults);
}

// A view of one feature with these transforms; each stands on line 6.
std::string One(const std::string& type, const std::string& transforms) {
  return "view: v\nfeatures:\n- column: c\n  type: " + type + "\n  transforms:\n    [" +
         transforms + "]\n";
}

FeatureView Parse(const std::string& yaml, uint32_t features) {
  const FeatureViewResult result = ParseFeatureView(yaml, features, "input");
  EXPECT_THAT(FormatFaults("v", result.faults), IsEmpty()) << yaml;
  return result.view;
}

TEST(FeatureView, ReadsEveryTransform) {
  const FeatureView view = Parse(
      "view: people\n"
      "features:\n"
      "  - column: age\n"
      "    transforms: [{fill: 30}, {clip: [0, .inf]}, {scale: {mean: 41.5, std: 12}}, log1p]\n"
      "  - column: income\n"
      "    type: number\n"
      "    transforms: [{bucketize: [1, 2.5, 1e3]}, {cast: int64}, {fill: 0}, one_hot]\n"
      "  - column: plan\n"
      "    type: string\n"
      "    transforms:\n"
      "      - fill: basic\n"
      "      - vocabulary: {values: [basic, full], unknown: missing}\n"
      "      - one_hot\n"
      "  - column: raw\n",
      1 + 4 + 2 + 1);
  EXPECT_EQ(view.name(), "people");
  ASSERT_EQ(view.features_size(), 4);
  const auto& age = view.features(0).transforms();
  ASSERT_EQ(age.size(), 4);
  EXPECT_EQ(age[0].fill().number(), 30);
  EXPECT_EQ(age[1].clip().lo(), 0);
  EXPECT_TRUE(std::isinf(age[1].clip().hi()));
  EXPECT_EQ(age[2].scale().mean(), 41.5);
  EXPECT_EQ(age[2].scale().std(), 12);
  EXPECT_TRUE(age[3].has_log1p());
  const auto& income = view.features(1).transforms();
  EXPECT_THAT(income[0].bucketize().edges(), ElementsAre(1, 2.5, 1000));
  EXPECT_TRUE(income[1].cast().to_int64());
  EXPECT_EQ(income[3].one_hot().width(), 4u);
  const auto& plan = view.features(2).transforms();
  EXPECT_EQ(view.features(2).type(), Feature::STRING);
  EXPECT_EQ(plan[0].fill().text(), "basic");
  EXPECT_THAT(plan[1].vocabulary().values(), ElementsAre("basic", "full"));
  EXPECT_EQ(plan[1].vocabulary().unknown(), Transform::Vocabulary::MISSING);
  EXPECT_EQ(plan[2].one_hot().width(), 2u);
  EXPECT_EQ(view.features(3).transforms_size(), 0);
}

TEST(FeatureView, TheColumnsMustFillTheModel) {
  const std::string yaml = "view: v\nfeatures:\n- column: a\n- column: b\n";
  EXPECT_THAT(Faults(yaml, 2), IsEmpty());
  EXPECT_THAT(Faults(yaml, 3),
              ElementsAre("v:2: features: make 2 columns together, and the model takes 3"));
  EXPECT_THAT(Faults(yaml, 1), ElementsAre(HasSubstr("make 2 columns")));
}

TEST(FeatureView, OneHotKnowsItsWidth) {
  const auto width = [](const std::string& before, const std::string& type = "string") {
    const FeatureViewResult result =
        ParseFeatureView(One(type, before + ", one_hot"), 1'000'000, "input");
    const auto& transforms = result.view.features(0).transforms();
    return transforms.empty() ? 0 : transforms[transforms.size() - 1].one_hot().width();
  };
  EXPECT_EQ(width("{vocabulary: {values: [a, b, c]}}"), 3u);
  EXPECT_EQ(width("{vocabulary: {values: [a, b], unknown: 1}}"), 2u);
  EXPECT_EQ(width("{vocabulary: {values: [a, b], unknown: 2}}"), 3u);
  EXPECT_EQ(width("{bucketize: [5]}", "number"), 2u);
  EXPECT_EQ(width("{vocabulary: {values: [a, b, c]}}, {bucketize: [1]}"), 2u);
}

TEST(FeatureView, OneHotNeedsPositions) {
  for (const char* bad :
       {"", "log1p, ", "{fill: 1}, ", "{bucketize: [1]}, {scale: {mean: 0, std: 1}}, ",
        "{bucketize: [1]}, {fill: 2}, ", "{bucketize: [1]}, {fill: 0.5}, ",
        "{bucketize: [1]}, {clip: [0, 1]}, ", "{bucketize: [1]}, log1p, "}) {
    EXPECT_THAT(Faults(One("number", std::string(bad) + "one_hot")),
                ElementsAre(HasSubstr("one_hot: must follow vocabulary or bucketize")))
        << bad;
  }
  EXPECT_THAT(Faults(One("string", "{vocabulary: {values: [a], unknown: -1}}, one_hot")),
              ElementsAre(HasSubstr("is no position")));
  EXPECT_THAT(Faults(One("string", "{vocabulary: {values: [a], unknown: 0.5}}, one_hot")),
              ElementsAre(HasSubstr("is no position")));
  EXPECT_THAT(Faults(One("number", "{bucketize: [1]}, one_hot, log1p"), 2),
              ElementsAre(HasSubstr("transforms[2]: nothing may follow one_hot")));
}

TEST(FeatureView, TextAndNumbersAreKeptApart) {
  EXPECT_THAT(Faults(One("string", "")), ElementsAre(HasSubstr("a string needs a vocabulary")));
  EXPECT_THAT(
      Faults("view: v\nfeatures:\n- column: c\n  type: string\n"),
      ElementsAre("v:3: features[0].transforms: a string needs a vocabulary, which makes it "
                  "a number"));
  for (const char* op : {"log1p", "{clip: [0, 1]}", "{scale: {mean: 0, std: 1}}",
                         "{bucketize: [1]}", "{cast: int64}", "one_hot"}) {
    EXPECT_THAT(Faults(One("string", std::string(op) + ", {vocabulary: {values: [a]}}")),
                ElementsAre(HasSubstr("needs a number")))
        << op;
  }
  EXPECT_THAT(Faults(One("number", "{vocabulary: {values: [a]}}")),
              ElementsAre(HasSubstr("vocabulary: needs a string, and this is a number")));
  EXPECT_THAT(Faults(One("number", "{fill: abc}")),
              ElementsAre(HasSubstr("must be a finite number")));
  EXPECT_THAT(Faults(One("string", "{fill: ''}, {vocabulary: {values: [a]}}")),
              ElementsAre(HasSubstr("fill: a string is filled with a text that is not empty")));
}

TEST(FeatureView, ValuesOfTransformsAreChecked) {
  const std::pair<const char*, const char*> faults[] = {
      {"{fill: .nan}", "fill: must be a finite number"},
      {"{fill: .inf}", "fill: must be a finite number"},
      {"{fill: [1]}", "fill: must be a finite number"},
      {"{clip: 3}", "clip: must be [lowest, highest]"},
      {"{clip: [1]}", "clip: must be [lowest, highest]"},
      {"{clip: [2, 1]}", "clip: the lowest is above the highest"},
      {"{clip: [a, 1]}", "clip: must be a finite number"},
      {"{scale: 3}", "scale: must be a map"},
      {"{scale: {mean: 1}}", "scale: std is missing"},
      {"{scale: {std: 1}}", "scale: mean is missing"},
      {"{scale: {mean: 1, std: 0}}", "scale.std: must be above 0"},
      {"{scale: {mean: 1, std: 1, max: 2}}", "scale.max: is not a field"},
      {"{scale: {mean: 1, mean: 2, std: 1}}", "scale.mean: stands twice"},
      {"{bucketize: []}", "bucketize: must be a list"},
      {"{bucketize: [1, 1]}", "bucketize: edges must ascend"},
      {"{bucketize: [2, 1]}", "bucketize: edges must ascend"},
      {"{bucketize: [x]}", "bucketize: must be a finite number"},
      {"{cast: float64}", "cast: must be float32 or int64"},
      {"{log1p: 2}", "log1p: takes no value"},
      {"{one_hot: 2}", "one_hot: takes no value"},
      {"{square: 2}", "square: is not a transform"},
      {"sqrt", "sqrt: must be one of fill"},
      {"{fill: 1, clip: [0, 1]}", "must be one of fill"},
      {"[fill]", "must be one of fill"},
  };
  for (const auto& [transform, fault] : faults) {
    EXPECT_THAT(
        Faults(One("number", transform)),
        ElementsAre(testing::AllOf(HasSubstr("v:6: features[0].transforms[0]"), HasSubstr(fault))))
        << transform;
  }
  const std::pair<const char*, const char*> vocabularies[] = {
      {"[a]", "vocabulary: must be a map"},
      {"{unknown: reject}", "vocabulary: values is missing"},
      {"{values: []}", "vocabulary.values: must be a list of one text or more"},
      {"{values: [a, a]}", "vocabulary.values: a stands twice"},
      {"{values: ['']}", "vocabulary.values: each is UTF-8"},
      {"{values: [[a]]}", "vocabulary.values: each is UTF-8"},
      {"{values: [a], unknown: maybe}", "vocabulary.unknown: must be reject, missing"},
      {"{values: [a], unknown: nan}", "vocabulary.unknown: must be reject, missing"},
      {"{values: [a], default: 1}", "vocabulary.default: is not a field"},
  };
  for (const auto& [vocabulary, fault] : vocabularies) {
    EXPECT_THAT(Faults(One("string", "{vocabulary: " + std::string(vocabulary) + "}")),
                ElementsAre(HasSubstr(fault)))
        << vocabulary;
  }
}

TEST(FeatureView, FaultsOfTheWholeAreToldAtOnce) {
  EXPECT_THAT(Faults("view: a b\n"
                     "features:\n"
                     "- column: age\n"
                     "  typ: number\n"
                     "- type: number\n"
                     "- column: input\n"
                     "- column: age\n"
                     "  type: text\n"
                     "- 3\n"
                     "extra: 1\n"),
              ElementsAre(HasSubstr("v:1: view: must be a name"),
                          HasSubstr("v:4: features[0].typ: is not a field"),
                          HasSubstr("v:5: features[1].column: is missing"),
                          HasSubstr("v:6: features[2].column: is the name of the model's ready"),
                          HasSubstr("v:8: features[3].type: must be number or string"),
                          HasSubstr("v:9: features[4]: must be a map"),
                          HasSubstr("v:10: extra: is not a field")));
  EXPECT_THAT(Faults("view: v\n"), ElementsAre(HasSubstr("features: is missing")));
  EXPECT_THAT(Faults("features: [{column: c}]\n"), ElementsAre(HasSubstr("view: is missing")));
  EXPECT_THAT(Faults("view: v\nfeatures: {}\n"),
              ElementsAre(HasSubstr("v:2: features: must be a list")));
  EXPECT_THAT(Faults(""), ElementsAre(HasSubstr("must be a map")));
  EXPECT_THAT(Faults("view: [\n"), ElementsAre(HasSubstr("v:")));
}

TEST(FeatureView, AColumnMayStandTwiceWithOneType) {
  EXPECT_THAT(Faults("view: v\nfeatures: [{column: a}, {column: a, transforms: [log1p]}]\n", 2),
              IsEmpty());
  EXPECT_THAT(Faults("view: v\nfeatures:\n- {column: a}\n"
                     "- {column: a, type: string, transforms: [{vocabulary: {values: [x]}}]}\n",
                     2),
              ElementsAre("v:4: features[1].type: column a has another type further up"));
}

}  // namespace
}  // namespace millrace
