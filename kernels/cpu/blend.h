// All nodes of a tree for W rows at once, without a branch.
//
// From the last inner node to the first, every node gets a vector of W bytes: for each row the leaf
// that it comes to from there. That is its left child's vector where the row's byte is <= edge,
// else its right child's. The root's vector is the answer. It asks every node, not only those on
// the paths; since a node costs some four instructions for 16, 32 or 64 rows, that is less than
// walking.
//
// Included by the level files only; see columns.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/tables.h"

namespace millrace::cpu {

inline constexpr uint32_t kMaxBlendLeaves = 256;  // a leaf's number is a byte

template <uint32_t W>
struct BlendTable {
  typedef uint8_t Vector __attribute__((vector_size(W)));

  // Indexed by child from its middle: leaves below, inner nodes above.
  Vector all[2 * kMaxBlendLeaves];

  Vector* middle() { return all + kMaxBlendLeaves; }

  // Leaves never change.
  void Start() {
    for (int i = 0; i < static_cast<int>(kMaxBlendLeaves); ++i) {
      middle()[~i] = Vector{} + static_cast<uint8_t>(i);
    }
  }
};

// The leaf of each of W rows; `columns` is [column_count][W].
template <class L, uint32_t W>
inline const uint8_t* Blend(const PlanNode* nodes, uint32_t count, const uint8_t* columns,
                            BlendTable<W>* table) {
  using Vector = typename BlendTable<W>::Vector;
  Vector* const middle = table->middle();
  const auto* rows = reinterpret_cast<const Vector*>(columns);
  if (count == 0) return reinterpret_cast<const uint8_t*>(middle - 1);
  for (uint32_t i = count; i-- > 0;) {
    const PlanNode node = nodes[i];
    const Vector edge = Vector{} + static_cast<uint8_t>(node.test);
    const Vector column = rows[NodeColumn(node)];
    middle[i] = column <= edge ? middle[node.left] : middle[node.right];
  }
  return reinterpret_cast<const uint8_t*>(middle);
}

}  // namespace millrace::cpu
