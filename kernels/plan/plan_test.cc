#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
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

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Image = std::vector<std::byte>;

PlanHeader& HeaderOf(Image& image) { return *reinterpret_cast<PlanHeader*>(image.data()); }

template <typename T>
T* SectionOf(Image& image, Section section) {
  return reinterpret_cast<T*>(image.data() + HeaderOf(image).sections[section].offset);
}

TEST(FormatTest, AChangeOfLayoutIsAChangeOfHash) {
  // When this fails, the format changed: say so in README.md, then write the new value here.
  EXPECT_EQ(kFormatHash, 0xe09a07948953b3a7u);
  EXPECT_EQ(sizeof(PlanHeader), 368u);
  char magic[8];
  memcpy(magic, &kPlanMagic, sizeof magic);
  EXPECT_EQ(std::string(magic, 8), "\x89MRTPLN2");
}

TEST(TreePlanTest, GivesBackWhatWasWritten) {
  const Image image = SampleXgboostPlan();
  const auto plan = TreePlan::Open(image);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->family(), TreeFamily::kXgboost);
  EXPECT_EQ(plan->transform(), MarginTransform::kSoftmax);
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
  EXPECT_EQ(plan->trees()[1].first_node, 2u);
  EXPECT_EQ(plan->trees()[1].node_count, 0u);
  EXPECT_EQ(plan->trees()[1].first_leaf, 3u);
  EXPECT_EQ(plan->trees()[1].group, 1u);
  const PlanNode root = plan->nodes()[0];
  EXPECT_EQ(root.left, ~0);
  EXPECT_EQ(root.right, 1);
  const PlanColumn age = plan->columns()[NodeColumn(root)];
  EXPECT_EQ(age.kind, ColumnKind::kNumeric);
  EXPECT_TRUE(age.default_left);
  EXPECT_EQ(plan->edges32()[age.first + NodeEdge(root)], 40);
  const PlanColumn category = plan->columns()[NodeColumn(plan->nodes()[1])];
  EXPECT_EQ(category.kind, ColumnKind::kSet);
  const PlanFeature feature = plan->used_features()[category.entry];
  EXPECT_EQ(feature.feature, 2u);
  EXPECT_EQ(feature.row_count, 2u);
  EXPECT_EQ(plan->leaves32()[plan->trees()[1].first_leaf], 0.75f);
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
  const auto tree = [](size_t i, auto change) {
    return [i, change](Image& image) { change(SectionOf<PlanTree>(image, kTrees)[i]); };
  };
  const auto column = [](size_t i, auto change) {
    return [i, change](Image& image) { change(SectionOf<PlanColumn>(image, kColumns)[i]); };
  };
  const auto feature = [](size_t i, auto change) {
    return [i, change](Image& image) { change(SectionOf<PlanFeature>(image, kFeatures)[i]); };
  };
  const Corruption corruptions[] = {
      {"xgboost", header([](auto& h) { h.magic ^= 1; }), "magic"},
      {"xgboost", header([](auto& h) { h.format_hash ^= 1; }), "format_hash"},
      {"xgboost", header([](auto& h) { h.image_bytes += 64; }), "image_bytes"},
      {"xgboost", header([](auto& h) { h.family = TreeFamily{3}; }), "family"},
      {"xgboost", header([](auto& h) { h.transform = MarginTransform{0}; }), "transform"},
      {"xgboost", header([](auto& h) { h.transform = MarginTransform{9}; }), "transform"},
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
       "features[1].feature"},
      {"xgboost", header([](auto& h) {
         h.sections[kLeaves64] = {h.sections[kLeaves32].offset, 2};
         h.sections[kLeaves32].count = 0;
       }),
       "other family"},
      {"lightgbm", header([](auto& h) { h.sections[kEdges64].count = 1; }), "edges"},
      {"xgboost", header([](auto& h) {
         h.sections[kWideNodes] = {h.sections[kNodes].offset, 1};
         h.sections[kNodes] = {h.sections[kTrees].offset, 1};
         h.sections[kTrees].count = 0;
       }),
       "narrow and wide"},
      {"xgboost", header([](auto& h) { h.sections[kColumns].count = 1; }), "first_column"},
      {"lightgbm", header([](auto& h) {
         h.sections[kEdges32].count = 1;
         h.sections[kEdges64].count = 1;
       }),
       "first_edge"},
      {"xgboost", tree(1, [](auto& t) { t.first_node = 1; }), "trees[1].first_node"},
      {"xgboost", tree(0, [](auto& t) { t.node_count = 3; }), "trees[0].first_node"},
      {"xgboost", tree(1, [](auto& t) { t.node_count = 1; }), "trees[1].first_node"},
      {"xgboost", tree(1, [](auto& t) { t.first_leaf = 2; }), "trees[1].first_leaf"},
      {"xgboost", tree(1, [](auto& t) { t.leaf_count = 0; }), "trees[1].first_leaf"},
      {"xgboost", tree(1, [](auto& t) { t.leaf_count = 2; }), "trees[1].first_leaf"},
      {"xgboost", tree(1, [](auto& t) { t.group = 2; }), "trees[1].group"},
      {"vector", tree(0, [](auto& t) { t.group = 1; }), "group"},
      {"xgboost", tree(0, [](auto& t) { t.first_linear = 0; }), "first_linear"},
      {"linear", tree(0, [](auto& t) { t.first_linear = 1; }), "first_linear"},
      {"xgboost", tree(0, [](auto& t) { t.reserved[1] = 1; }), "reserved"},
      {"xgboost", node(0, [](auto& n) { n.right = 0; }), "nodes[0].right"},
      {"xgboost", node(1, [](auto& n) { n.left = 1; }), "nodes[1].left"},
      {"xgboost", node(1, [](auto& n) { n.left = 2; }), "nodes[1].right"},
      {"xgboost", node(1, [](auto& n) { n.left = INT16_MAX; }), "nodes[1].left"},
      {"xgboost", node(1, [](auto& n) { n.left = ~3; }), "nodes[1].left"},
      {"xgboost", node(1, [](auto& n) { n.right = ~1; }), "nodes[1]."},  // reached twice
      {"lightgbm", tree(0, [](auto& t) { t.node_count = 1; }), "children are not its nodes"},
      {"xgboost", node(0, [](auto& n) { n.test = 2 << 8; }), "no such column"},
      {"xgboost", node(0, [](auto& n) { n.test |= 1; }), "no such edge"},
      {"xgboost", node(1, [](auto& n) { n.test |= 1; }), "no such edge"},
      {"xgboost", [nan](Image& i) { SectionOf<float>(i, kEdges32)[0] = static_cast<float>(nan); },
       "NaN"},
      {"lightgbm", [](Image& i) { SectionOf<double>(i, kEdges64)[0] = NAN; }, "NaN"},
      {"xgboost", column(0, [](auto& c) { c.entry = 1; }), "columns[0].entry"},
      {"xgboost", column(0, [](auto& c) { c.kind = ColumnKind::kSet; }), "columns[0].kind"},
      {"xgboost", column(0, [](auto& c) { c.missing = Missing{3}; }), "columns[0].missing"},
      {"xgboost", column(0, [](auto& c) { c.default_left = 2; }), "columns[0].missing"},
      {"xgboost", column(0, [](auto& c) { c.reserved = 1; }), "columns[0].missing"},
      {"xgboost", column(0, [](auto& c) { c.first = 1; }), "columns[0].first"},
      {"xgboost", column(1, [](auto& c) { c.first = 1; }), "columns[1].first"},
      {"xgboost", feature(0, [](auto& f) { f.feature = 2; }), "features[1].feature"},
      {"xgboost", feature(1, [](auto& f) { f.first_edge = 0; }), "features[1].first_edge"},
      {"xgboost", feature(1, [](auto& f) { f.edge_count = 1; }), "features[1].first_edge"},
      {"xgboost", feature(1, [](auto& f) { f.set_columns = 2; }), "features[1].first_column"},
      {"xgboost", feature(1, [](auto& f) { f.row_count = 3; }), "features[1].first_row"},
      {"xgboost", [](Image& i) { SectionOf<PlanWordRow>(i, kWordRows)[1].count = 2; },
       "features[1].first_row"},
      {"xgboost", [](Image& i) { SectionOf<PlanWordRow>(i, kWordRows)[0].first_word = 9; },
       "features[1].first_row"},
      {"linear", [](Image& i) { SectionOf<PlanLinear>(i, kLinears)[0].first_term = 1; },
       "linears[0]"},
      {"linear", [](Image& i) { SectionOf<PlanTerm>(i, kTerms)[0].feature = 2; }, "terms[0]"},
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

TEST(PlanWriterTest, LaysNodesBreadthFirstAndDropsTheUnreached) {
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
  ASSERT_EQ(plan->nodes().size(), 2u);
  EXPECT_EQ(plan->nodes()[0].left, ~0);
  EXPECT_EQ(plan->nodes()[0].right, 1);
  EXPECT_EQ(plan->nodes()[1].left, ~1);
  EXPECT_EQ(plan->nodes()[1].right, ~2);
  EXPECT_THAT(plan->leaves32(), ElementsAre(4, 3, 2));
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
