#include "tools/load/arrivals.h"

#include <cmath>

namespace millrace {

void Arrivals::Advance() {
  ++count_;
  if (kind_ == ArrivalKind::kConstant) {
    after_ns_ = gap_ns_ * static_cast<double>(count_);  // a product: no error adds up
    return;
  }
  // Above 0 and at most 1, so that its logarithm is finite.
  const double uniform = (static_cast<double>(random_() >> 11) + 1) * 0x1p-53;
  after_ns_ -= gap_ns_ * std::log(uniform);
}

}  // namespace millrace
