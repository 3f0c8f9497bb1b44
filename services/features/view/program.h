// One feature's transforms in the form that runs: checked, flat, without protobuf.
//
// Purpose: CompileFeature checks a Feature of the catalog; LookUp and Run do its work on a chunk of
//   values, in double. Semantics are those of compiled_view.h, which is the door to all of this.
// Who may call: any thread; a program is constant once it is made.
// Invariants: 1. a program with a vocabulary starts from strings, one without from numbers.
//   2. A one-hot is the last operation or absent; `width` is its width, else 1.
//   3. Run and LookUp allocate nothing unless they return a fault.
// What fails: CompileFeature returns a status that names the transform; LookUp and Run return the
//   first row that has no result.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "ipc/catalog.pb.h"

namespace millrace {

inline constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

struct Op {
  enum class Kind : uint8_t {
    kCastInt64,
    kCastFloat32,
    kFill,   // a: the value
    kScale,  // a: mean, b: std
    kLog1p,
    kClip,       // a: lo, b: hi
    kBucketize,  // edges
    kOneHot,     // a: width; a check only, Store writes the columns
  };
  Kind kind;
  double a = 0;
  double b = 0;
  std::vector<double> edges = {};
};

struct StringIndex {
  absl::flat_hash_map<std::string, double> positions;
  double missing = kMissing;      // for the empty string
  std::optional<double> unknown;  // nothing: an unknown string is a fault
};

// The value at `index` of the chunk has no result; `what` says why.
struct ProgramFault {
  size_t index;
  std::string what;
};

struct FeatureProgram {
  std::unique_ptr<const StringIndex> strings;  // null: starts from numbers
  std::vector<Op> ops;
  size_t width = 1;
  size_t offset = 0;  // first column of the tensor's row; set by the view

  std::optional<ProgramFault> LookUp(absl::Span<const absl::string_view> texts,
                                     double* values) const;
  std::optional<ProgramFault> Run(absl::Span<double> values) const;
  // Writes values[i] to row i of `out`, whose rows are `stride` floats apart.
  void Store(absl::Span<const double> values, size_t stride, float* out) const;

 private:
  std::optional<ProgramFault> RunOne(const Op& op, absl::Span<double> values) const;
};

absl::StatusOr<FeatureProgram> CompileFeature(const Feature& feature);

// For messages: printable, at most 32 bytes of it.
std::string Quoted(absl::string_view text);

}  // namespace millrace
