// How long the stages had a part of a request, as workers hand it on to ingress.
//
// Purpose: the statistics of a model are made of what was measured where it happened. A worker adds
//   its own times to what came with its input and sends the sum on in the message's word `times`.
// Who may call: lanes. Invariants:
//   1. A time is kept to 8 significant bits (an error of at most 1 in 128, downwards), up to 547 s;
//   a longer
//      one is written as the longest.
//   2. batch_rows is exact up to 255 rows, beyond that cut to 8 significant bits. Exactly one part
//   of
//      a batch carries it; the others carry 0, so that batches can be counted.
//   3. Every word unpacks to something: what a peer wrote may be untrue, but never out of range.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <bit>

namespace millrace {

struct StageTimes {
  uint64_t queue_ns = 0;    // from being published to being taken, in all stages
  uint64_t input_ns = 0;    // in features: raw columns to the model's tensor
  uint64_t infer_ns = 0;    // in execution, of the whole batch
  uint64_t output_ns = 0;   // in aggregation
  uint64_t batch_rows = 0;  // of the batch that this part stands for; 0: another part does

  uint64_t Pack() const {
    return Squeeze<5>(queue_ns) | Squeeze<5>(input_ns) << 13 | Squeeze<5>(infer_ns) << 26 |
           Squeeze<5>(output_ns) << 39 | Squeeze<4>(batch_rows) << 52;
  }
  static StageTimes Unpack(uint64_t word) {
    return {Expand(word & 0x1fff), Expand(word >> 13 & 0x1fff), Expand(word >> 26 & 0x1fff),
            Expand(word >> 39 & 0x1fff), Expand(word >> 52)};
  }

 private:
  // An exponent above 8 bits of value.
  template <int kExponentBits>
  static constexpr uint64_t Squeeze(uint64_t value) {
    constexpr int kMost = (1 << kExponentBits) - 1;
    const int shift = value < 256 ? 0 : std::bit_width(value) - 8;
    return shift > kMost ? uint64_t{kMost} << 8 | 255 : uint64_t(shift) << 8 | value >> shift;
  }
  static constexpr uint64_t Expand(uint64_t code) { return (code & 255) << (code >> 8); }
};

}  // namespace millrace
