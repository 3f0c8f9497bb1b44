#include "kernels/testing/small_trees.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "common/check.h"
#include "kernels/plan/image_builder.h"

namespace millrace {
namespace {

constexpr float kThresholds[] = {-0.5f, 0.0f};
constexpr uint32_t kTreesInForest = 256;

class SmallTrees {
 public:
  using Use = std::function<void(const std::vector<std::byte>&)>;
  SmallTrees(TreeFamily family, const Use& use) : family_(family), use_(use) {}

  void MakeAll() {
    // Splits by number: two features, two thresholds, default side, and LightGBM's kind of missing.
    const uint32_t splits = 2 * 2 * 2 * (family_ == TreeFamily::kXgboost ? 1 : 3);
    for (uint32_t a = 0; a < splits; ++a) {
      for (uint32_t b = 0; b < splits; ++b) {
        Add({Split(a, 1, 2), DraftLeaf(1), Split(b, 3, 4), DraftLeaf(2), DraftLeaf(3)});
        Add({Split(a, 1, 2), Split(b, 3, 4), DraftLeaf(1), DraftLeaf(2), DraftLeaf(3)});
        // Both children inner; the third split follows from the first two.
        Add({Split(a, 1, 2), Split(b, 3, 4), Split((a + b) % splits, 5, 6), DraftLeaf(1),
             DraftLeaf(2), DraftLeaf(3), DraftLeaf(4)});
      }
      Add({Split(a, 1, 2), DraftLeaf(1), DraftLeaf(2)});
    }
    Add({DraftLeaf(1)});
    Flush();
  }

 private:
  DraftNode Split(uint32_t number, uint32_t left, uint32_t right) const {
    const Missing missing =
        family_ == TreeFamily::kXgboost ? Missing::kNan : static_cast<Missing>(number / 8);
    DraftNode node =
        DraftNumeric(number & 1, kThresholds[number >> 1 & 1], missing, (number & 4) != 0);
    node.left = left;
    node.right = right;
    return node;
  }

  void Add(std::vector<DraftNode> nodes) {
    builder_.AddTree(trees_++, std::move(nodes));
    if (trees_ == kTreesInForest) Flush();
  }

  void Flush() {
    PlanTraits traits;
    traits.family = family_;
    traits.features = 2;
    traits.bases.resize(trees_);
    std::string fault;
    const std::vector<std::byte> image = builder_.Finish(traits, &fault);
    MR_CHECK(!image.empty(), "small trees lie within the format's limits");
    use_(image);
    builder_ = ImageBuilder();
    trees_ = 0;
  }

  const TreeFamily family_;
  const Use& use_;
  ImageBuilder builder_;
  uint32_t trees_ = 0;
};

}  // namespace

std::vector<float> SmallTreeRows() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> grid = {std::nanf(""), -kInfinity, -1.0f, -0.0f,    -1e-45f,
                             1e-45f,        1e-35f,     1.0f,  kInfinity};
  for (const float t : kThresholds) {
    grid.insert(grid.end(), {std::nextafter(t, -kInfinity), t, std::nextafter(t, kInfinity)});
  }
  std::vector<float> rows;
  for (const float a : grid) {
    for (const float b : grid) rows.insert(rows.end(), {a, b});
  }
  return rows;
}

void ForEachSmallForest(TreeFamily family,
                        const std::function<void(const std::vector<std::byte>&)>& use) {
  SmallTrees(family, use).MakeAll();
}

}  // namespace millrace
