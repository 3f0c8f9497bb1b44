// A tree plan that was checked and can be run.
//
// Purpose: the only door to a plan's bytes. Open() takes an untrusted image and checks all of it;
//   what it returns may be evaluated with no further checks.
// Who may call: any thread; a TreePlan is immutable and cheap to copy.
// Ownership: a TreePlan refers to the image, which its owner keeps mapped, readable and unchanged
//   for as long as the TreePlan or a copy of it is used.
// Invariants of a TreePlan that Open() returned: those of PlanView. Leaf values may be anything:
//   they cannot lead out of bounds.
// Fails: Open() with InvalidArgument and a sentence that names the part of the image.
#pragma once

#include <stdint.h>

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/plan/plan_view.h"

namespace millrace {

class TreePlan : public PlanView {
 public:
  // `image` must be aligned to 8 bytes. Allocates only to describe a fault. Takes time in
  // proportion to the image.
  static absl::StatusOr<TreePlan> Open(absl::Span<const std::byte> image);

 private:
  explicit TreePlan(const void* image) : PlanView(image) {}
};

}  // namespace millrace
