// Eight walks at once, from root to leaf.
//
// Walks are chains of dependent loads; eight of them hide each other's latency. A walk that has
// come to its leaf stands still until all have. A step is a choice between two neighbouring
// children by index, so that no branch depends on a row.
//
// Included by the level files only; see columns.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/tables.h"

namespace millrace::cpu {

inline constexpr uint32_t kWalks = 8;

// Walk k begins at roots[k] and reads columns[k][column * stride]; leaves[k] is the number of its
// leaf. A root that is null stands for a tree of one leaf.
template <class L, class Node>
inline void Walk(const Node* const* roots, const uint8_t* const* columns, size_t stride,
                 uint32_t* leaves) {
  const Node* some = nullptr;  // read, and the answer dropped, by a walk that stands still
  for (uint32_t k = 0; k < kWalks; ++k) some = roots[k] != nullptr ? roots[k] : some;
  const Node* base[kWalks];
  int64_t at[kWalks];
  int64_t ended = -1;
  for (uint32_t k = 0; k < kWalks; ++k) {
    base[k] = roots[k] != nullptr ? roots[k] : some;
    at[k] = roots[k] != nullptr ? 0 : ~int64_t{0};
    ended &= at[k];
  }
  while (ended >= 0) {
    ended = -1;
    for (uint32_t k = 0; k < kWalks; ++k) {
      const Node* node = base[k] + (at[k] < 0 ? 0 : at[k]);
      const bool right = columns[k][NodeColumn(*node) * stride] > static_cast<uint8_t>(node->test);
      // Both children stand side by side; chosen by address, not by a branch.
      const auto* child = reinterpret_cast<const decltype(Node::left)*>(
          reinterpret_cast<const char*>(node) + offsetof(Node, left));
      const int64_t next = child[right];
      at[k] = at[k] < 0 ? at[k] : next;
      ended &= at[k];
    }
  }
  for (uint32_t k = 0; k < kWalks; ++k) leaves[k] = static_cast<uint32_t>(~at[k]);
}

}  // namespace millrace::cpu
