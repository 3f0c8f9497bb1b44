#include "kernels/cpu/level.h"

#include <vector>

#include "kernels/cpu/blend.h"

namespace millrace::cpu {

size_t ScratchBytes(const ForestTables& tables) {
  return sizeof(BlendTable<kBlockRows>) + size_t{tables.groups} * kBlockRows * sizeof(double) +
         (size_t{tables.column_count} + 4) * kBlockRows;
}

std::span<const Level* const> SupportedLevels() {
  static const std::vector<const Level*> levels = [] {
    std::vector<const Level*> found;
    for (const Level* level : {&kAvx512Level, &kAvx2Level, &kPortableLevel}) {
      if (level->supported()) found.push_back(level);
    }
    return found;
  }();
  return levels;
}

}  // namespace millrace::cpu
