#include "kernels/plan/writer.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/plan/tree_plan.h"

namespace millrace {
namespace {

constexpr uint64_t kMaxCount = std::numeric_limits<uint32_t>::max();

}  // namespace

absl::Status PlanWriter::AddTree(uint32_t group, uint32_t count, const TreeNames& names,
                                 ReadNode read) {
  if (count == 0) return absl::InvalidArgumentError(absl::StrCat(names.path, ": has no nodes"));
  if (node_count() + count > kMaxCount) {
    return absl::ResourceExhaustedError(absl::StrCat(names.path, ": more than 2^32 nodes in all"));
  }
  std::vector<uint32_t> order = {0};  // the file's numbers in plan order; grows as it is walked
  std::vector<bool> reached(count);
  reached[0] = true;
  const auto reach = [&](size_t parent, const char* field, uint32_t child) {
    const auto fault = [&](const char* what) {
      return absl::InvalidArgumentError(
          absl::StrCat(names.path, ".", field, "[", parent, "]: node ", child, what));
    };
    if (child >= count) return fault(" is out of range");
    if (reached[child]) return fault(" is reached a second time");
    reached[child] = true;
    order.push_back(child);
    return absl::OkStatus();
  };
  std::vector<DraftNode> nodes;
  for (size_t i = 0; i < order.size(); ++i) {
    const uint32_t number = order[i];
    absl::StatusOr<DraftNode> node = read(number);
    if (!node.ok()) return node.status();
    if (node->inner()) {
      const uint32_t left = std::exchange(node->left, static_cast<uint32_t>(order.size()));
      const uint32_t right = std::exchange(node->right, static_cast<uint32_t>(order.size() + 1));
      if (absl::Status s = reach(number, names.left, left); !s.ok()) return s;
      if (absl::Status s = reach(number, names.right, right); !s.ok()) return s;
    }
    nodes.push_back(*node);
  }
  builder_.AddTree(group, std::move(nodes));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::byte>> PlanWriter::Finish(const PlanTraits& traits) const {
  std::string fault;
  std::vector<std::byte> image = builder_.Finish(traits, &fault);
  if (image.empty()) return absl::ResourceExhaustedError(fault);
  if (auto plan = TreePlan::Open(image); !plan.ok()) return plan.status();
  return image;
}

}  // namespace millrace
