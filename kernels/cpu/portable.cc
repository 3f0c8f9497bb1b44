// For any processor that the server runs on.
#include "kernels/cpu/level.h"
#include "kernels/cpu/margins.h"

namespace millrace::cpu {
namespace {

struct Portable {
  static constexpr uint32_t kMaxWidth = 16;
  static constexpr bool kMasks = false;

  template <bool kStrictly, class Real>
  static uint32_t Behind(const Real* edges, Real x) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < kEdgeBlock; ++i) count += kStrictly ? edges[i] < x : edges[i] <= x;
    return count;
  }

  template <bool kLightgbm, class Real>
  static void FillOne(const ForestTables& t, const Real* edges, const Real* row, uint8_t* columns) {
    FillColumns<Portable, 1, kLightgbm>(t, edges, &row, columns);
  }

  template <uint32_t W, class Real>
  using Sums = PlainSums<W, Real>;
};

bool Supported() { return true; }

}  // namespace

const Level kPortableLevel = {"portable", Supported, MarginsOfLevel<Portable>};

}  // namespace millrace::cpu
