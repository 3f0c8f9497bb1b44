// Edges of the histograms: where one bucket ends and the next begins.
//
// Purpose: all processes count times and sizes by the same edges, and an objective (SLO) is one of
// them. Who may call: any thread; all is constant. Invariants:
//   1. Bucket i holds values above edge i - 1 and up to edge i, as Prometheus's `le` says; the last
//      one, kTimeEdges, what is above all edges.
//   2. Edges of times are log-linear: 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times each power of ten,
//      from 1 us to 300 s. A bucket's upper edge is at most 4/3 of its lower one, so a value that
//      is told by the middle of its bucket is at most 1/7 off.
//   3. Edges of sizes are 2^k and 1.5 x 2^k up to 65,536: at most 1.5 times the one before from 2
//   on.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <array>
#include <bit>

namespace millrace {

namespace time_edges_internal {

inline constexpr std::array<uint64_t, 10> kTenths = {10, 12, 15, 20, 25, 30, 40, 50, 60, 80};
inline constexpr size_t kDecades = 8;   // 1 us to 100 s
inline constexpr size_t kLastPart = 6;  // 100 s to 300 s

constexpr auto Times() {
  std::array<uint64_t, kDecades * kTenths.size() + kLastPart> edges{};
  uint64_t unit_ns = 100;  // a tenth of a microsecond
  for (size_t i = 0; i < edges.size(); ++i) {
    if (i > 0 && i % kTenths.size() == 0) unit_ns *= 10;
    edges[i] = unit_ns * kTenths[i % kTenths.size()];
  }
  return edges;
}

constexpr auto Sizes() {
  std::array<uint64_t, 32> edges{};
  edges[0] = 1;
  for (size_t i = 1; i < edges.size(); ++i) {
    const uint64_t power = uint64_t{1} << ((i + 1) / 2);
    edges[i] = i % 2 == 1 ? power : power + power / 2;
  }
  return edges;
}

// For each width in bits the first edge that is not below the least value of that width.
template <size_t N>
constexpr std::array<uint8_t, 65> Starts(const std::array<uint64_t, N>& edges) {
  std::array<uint8_t, 65> starts{};
  for (size_t width = 0; width < starts.size(); ++width) {
    const uint64_t least = width == 0 ? 0 : uint64_t{1} << (width - 1);
    size_t i = 0;
    while (i < N && edges[i] < least) ++i;
    starts[width] = static_cast<uint8_t>(i);
  }
  return starts;
}

template <size_t N>
constexpr size_t Bucket(const std::array<uint64_t, N>& edges, const std::array<uint8_t, 65>& starts,
                        uint64_t value) {
  size_t i = starts[std::bit_width(value)];
  while (i < N && edges[i] < value) ++i;
  return i;
}

}  // namespace time_edges_internal

inline constexpr auto kTimeEdgesNs = time_edges_internal::Times();
inline constexpr auto kSizeEdges = time_edges_internal::Sizes();
inline constexpr auto kTimeStarts = time_edges_internal::Starts(kTimeEdgesNs);
inline constexpr auto kSizeStarts = time_edges_internal::Starts(kSizeEdges);
inline constexpr size_t kTimeEdges = kTimeEdgesNs.size();
inline constexpr size_t kSizeEdgeCount = kSizeEdges.size();

constexpr size_t TimeBucket(uint64_t ns) {
  return time_edges_internal::Bucket(kTimeEdgesNs, kTimeStarts, ns);
}
constexpr size_t SizeBucket(uint64_t size) {
  return time_edges_internal::Bucket(kSizeEdges, kSizeStarts, size);
}
constexpr bool IsTimeEdge(uint64_t ns) {
  return std::binary_search(kTimeEdgesNs.begin(), kTimeEdgesNs.end(), ns);
}

}  // namespace millrace
