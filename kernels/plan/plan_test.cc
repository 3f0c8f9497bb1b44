#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "kernels/plan/sample_plans.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/plan/writer.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

using Image = std::vector<std::byte>;

PlanHeader& HeaderOf(Image& image) { return *reinterpret_cast<PlanHeader*>(image.data()); }

template <typename T>
T* SectionOf(Image& image, Section section) {
  return reinterpret_cast<T*>(image.data() + HeaderOf(image).sections[section].offset);
}

TEST(FormatTest, AChangeOfLayoutIsAChangeOfHash) {
  // When this fails, the format changed: say so in README.md, then write the new value here.
  EXPECT_EQ(kFormatHash, 0x5c4eefe1df81efcfu);
  EXPECT_EQ(sizeof(PlanHeader), 272u);
  char magic[8];
  memcpy(magic, &kPlanMagic, sizeof magic);
  EXPECT_EQ(std::string(magic, 8), "\x89MRTPLN1");
}

TEST(TreePlanTest, GivesBackWhatWasWritten) {
  const Image image = SampleXgboostPlan();
  const auto plan = TreePlan::Open(image);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->family(), TreeFamily::kXgboost);
  EXPECT_EQ(plan->transform(), Transform::kSoftmax);
  EXPECT_EQ(plan->features(), 3u);
  EXPECT_EQ(plan->groups(), 2u);
  EXPECT_EQ(plan->prediction_columns(), 2u);
  EXPECT_EQ(plan->margin_type(), DataType::kFp32);
  EXPECT_TRUE(plan->AcceptsInput(DataType::kFp32));
  EXPECT_FALSE(plan->AcceptsInput(DataType::kFp64));
  EXPECT_EQ(plan->objective(), "multi:softprob");
  EXPECT_EQ(plan->feature_name(0), "age");
  EXPECT_EQ(plan->feature_name(2), "plan");
  ASSERT_EQ(plan->trees().size(), 2u);
  EXPECT_EQ(plan->trees()[1].first_node, 5u);
  EXPECT_EQ(plan->trees()[1].group, 1u);
  const PlanNode root = plan->nodes()[0];
  EXPECT_EQ(KindOf(root), NodeKind::kNumeric);
  EXPECT_EQ(NodeDouble(root), 40);
  EXPECT_EQ(root.left, 1u);
  EXPECT_TRUE(DefaultLeft(root));
  const PlanNode category = plan->nodes()[2];
  EXPECT_EQ(KindOf(category), NodeKind::kCategorical);
  EXPECT_EQ(NodeFeature(category), 2u);
  EXPECT_EQ(category.left, 3u);
  EXPECT_EQ(plan->sets()[0].word_count, 2u);
}

TEST(TreePlanTest, EverySampleOpens) {
  for (const SamplePlan& sample : SamplePlans()) {
    EXPECT_TRUE(TreePlan::Open(sample.image).ok()) << sample.name;
  }
}

TEST(TreePlanTest, EveryTruncationIsRefused) {
  for (const SamplePlan& sample : SamplePlans()) {
    for (size_t length = 0; length < sample.image.size(); ++length) {
      const Image cut(sample.image.begin(), sample.image.begin() + length);
      EXPECT_FALSE(TreePlan::Open(cut).ok()) << sample.name << " cut at " << length;
    }
  }
}

TEST(TreePlanTest, AMisalignedImageIsRefused) {
  const Image image = SampleXgboostPlan();
  std::vector<uint64_t> room(image.size() / 8 + 2);
  auto* start = reinterpret_cast<std::byte*>(room.data()) + 4;
  memcpy(start, image.data(), image.size());
  const auto plan = TreePlan::Open({start, image.size()});
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("multiple of 8"));
}

struct Corruption {
  const char* sample;
  std::function<void(Image&)> apply;
  const char* complaint;
};

Image FindSample(const std::string& name) {
  for (SamplePlan& sample : SamplePlans()) {
    if (sample.name == name) return sample.image;
  }
  return {};
}

TEST(TreePlanTest, EveryCorruptFieldIsNamed) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto header = [](auto change) {
    return [change](Image& image) { change(HeaderOf(image)); };
  };
  const auto node = [](size_t i, auto change) {
    return [i, change](Image& image) { change(SectionOf<PlanNode>(image, kNodes)[i]); };
  };
  const Corruption corruptions[] = {
      {"xgboost", header([](auto& h) { h.magic ^= 1; }), "magic"},
      {"xgboost", header([](auto& h) { h.format_hash ^= 1; }), "format_hash"},
      {"xgboost", header([](auto& h) { h.image_bytes += 64; }), "image_bytes"},
      {"xgboost", header([](auto& h) { h.family = TreeFamily{3}; }), "family"},
      {"xgboost", header([](auto& h) { h.transform = Transform{0}; }), "transform"},
      {"xgboost", header([](auto& h) { h.transform = Transform{9}; }), "transform"},
      {"xgboost", header([nan](auto& h) { h.transform_parameter = nan; }), "transform_parameter"},
      {"xgboost", header([](auto& h) { h.features = kMaxFeatures + 1; }), "features"},
      {"xgboost", header([](auto& h) { h.groups = 0; }), "groups"},
      {"xgboost", header([](auto& h) { h.groups = 1; }), "prediction_columns"},
      {"empty", header([](auto& h) { h.groups = 4; }), "bases"},
      {"empty", header([](auto& h) { h.prediction_columns = 3; }), "prediction_columns"},
      {"empty", header([](auto& h) { h.average_divisor = 3; }), "average_divisor"},
      {"xgboost", header([](auto& h) { h.vector_leaves = 2; }), "vector_leaves"},
      {"xgboost", header([](auto& h) { h.reserved = 1; }), "reserved"},
      {"xgboost", header([](auto& h) { memset(h.objective, 'x', sizeof h.objective); }),
       "objective"},
      {"xgboost", header([](auto& h) { h.sections[kNodes].offset += 8; }), "sections[2].offset"},
      {"xgboost", header([](auto& h) { h.sections[kNodes].offset = 0; }), "sections[2].offset"},
      {"xgboost", header([](auto& h) { h.sections[kNodes].count = 1ull << 60; }),
       "sections[2].count"},
      {"xgboost", header([](auto& h) { h.sections[kNameEnds].count = 2; }), "name_ends"},
      {"xgboost", header([](auto& h) {
         h.features = 2;
         h.sections[kNameEnds].count = 0;
       }),
       "feature 2 of 2"},
      {"xgboost", [](Image& i) { SectionOf<PlanTree>(i, kTrees)[1].first_node = 4; }, "trees[1]"},
      {"xgboost", [](Image& i) { SectionOf<PlanTree>(i, kTrees)[0].node_count = 0; }, "trees[0]"},
      {"xgboost", [](Image& i) { SectionOf<PlanTree>(i, kTrees)[1].node_count = 2; }, "trees[1]"},
      {"xgboost", [](Image& i) { SectionOf<PlanTree>(i, kTrees)[1].group = 2; }, "group: 2 of 2"},
      {"vector", [](Image& i) { SectionOf<PlanTree>(i, kTrees)[0].group = 1; }, "group"},
      {"xgboost", node(0, [](auto& n) { n.left = 0; }), "nodes[0].left"},
      {"xgboost", node(2, [](auto& n) { n.left = 1; }), "nodes[2].left"},
      {"xgboost", node(2, [](auto& n) { n.left = 4; }), "nodes[2].left"},
      {"xgboost", node(2, [](auto& n) { n.left = UINT32_MAX; }), "nodes[2].left"},
      {"xgboost", node(1, [](auto& n) { n.left = 2; }), "a leaf has no children"},
      {"xgboost", node(0, [](auto& n) { n.split |= 3; }), "feature 3 of 3"},
      {"xgboost", node(0, [](auto& n) { n.split |= 3u << kMissingShift; }), "split"},
      {"xgboost", node(0, [](auto& n) { n.split |= 1u << 31; }), "split"},
      {"xgboost", node(2, [](auto& n) { n.bits = 1; }), "no such category set"},
      {"xgboost", node(0, [nan](auto& n) { n.bits = std::bit_cast<uint64_t>(nan); }), "NaN"},
      {"xgboost", node(1, [](auto& n) { n.split |= 3u << kKindShift; }), "linear leaf"},
      {"vector", node(1, [](auto& n) { n.bits = 4; }), "vectors"},
      {"vector", node(1, [](auto& n) { n.bits = UINT64_MAX; }), "vectors"},
      {"linear", node(1, [](auto& n) { n.bits = 2; }), "linear leaf"},
      {"linear", [](Image& i) { SectionOf<PlanLinear>(i, kLinears)[0].first_term = 1; },
       "linears[0]"},
      {"linear", [](Image& i) { SectionOf<PlanTerm>(i, kTerms)[0].feature = 2; }, "terms[0]"},
      {"xgboost", [](Image& i) { SectionOf<PlanSet>(i, kSets)[0].first_word = UINT32_MAX; },
       "sets[0]"},
      {"xgboost", [](Image& i) { SectionOf<uint32_t>(i, kNameEnds)[1] = 99; }, "name_ends[1]"},
      {"xgboost", [](Image& i) { SectionOf<uint32_t>(i, kNameEnds)[1] = 1; }, "name_ends[1]"},
  };
  for (const Corruption& corruption : corruptions) {
    Image image = FindSample(corruption.sample);
    corruption.apply(image);
    const auto plan = TreePlan::Open(image);
    ASSERT_FALSE(plan.ok()) << corruption.sample << ": " << corruption.complaint;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(corruption.complaint));
  }
}

// A tree of inner nodes at the given children, everything else a leaf.
absl::Status AddShape(const std::vector<std::pair<uint32_t, uint32_t>>& inner, uint32_t count,
                      PlanWriter* writer) {
  const auto read = [&inner](uint32_t i) -> absl::StatusOr<DraftNode> {
    if (i >= inner.size()) return DraftLeaf(i);
    DraftNode node = DraftNumeric(0, i, Missing::kNan, false);
    node.left = inner[i].first;
    node.right = inner[i].second;
    return node;
  };
  return writer->AddTree(0, count, {"Tree=5", "left_child", "right_child"}, read);
}

TEST(PlanWriterTest, RefusesWhatIsNoTree) {
  PlanWriter writer;
  EXPECT_EQ(AddShape({}, 0, &writer).message(), "Tree=5: has no nodes");
  EXPECT_EQ(AddShape({{1, 0}}, 3, &writer).message(),
            "Tree=5.right_child[0]: node 0 is reached a second time");
  EXPECT_EQ(AddShape({{1, 1}}, 3, &writer).message(),
            "Tree=5.right_child[0]: node 1 is reached a second time");
  EXPECT_EQ(AddShape({{3, 1}}, 3, &writer).message(),
            "Tree=5.left_child[0]: node 3 is out of range");
  EXPECT_EQ(AddShape({{1, 2}, {0, 3}}, 4, &writer).message(),
            "Tree=5.left_child[1]: node 0 is reached a second time");
}

TEST(PlanWriterTest, LaysSiblingsSideBySideAndDropsTheUnreached) {
  PlanWriter writer;
  // The file lists children in another order, and node 5 is under nobody.
  ASSERT_TRUE(AddShape({{4, 1}, {3, 2}}, 6, &writer).ok());
  EXPECT_EQ(writer.node_count(), 5u);
  PlanTraits traits;
  traits.features = 1;
  traits.bases = {0};
  const auto image = writer.Finish(traits);
  ASSERT_TRUE(image.ok()) << image.status();
  const auto plan = TreePlan::Open(*image);
  EXPECT_EQ(plan->nodes()[0].left, 1u);
  EXPECT_EQ(NodeDouble(plan->nodes()[1]), 4);  // left child of the root: leaf 4
  EXPECT_EQ(plan->nodes()[2].left, 3u);        // right child: node 1
  EXPECT_EQ(NodeDouble(plan->nodes()[3]), 3);
  EXPECT_EQ(NodeDouble(plan->nodes()[4]), 2);
}

TEST(PlanWriterTest, RefusesNoGroupsAndTooMany) {
  PlanTraits traits;
  traits.features = 1;
  EXPECT_FALSE(PlanWriter().Finish(traits).ok());
  traits.bases.resize(kMaxGroups + 1);
  EXPECT_FALSE(PlanWriter().Finish(traits).ok());
}

}  // namespace
}  // namespace millrace
