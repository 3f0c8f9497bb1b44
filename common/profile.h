// Profiles: made of a sampler's stacks, and read as text.
//
// Purpose: one form of a profile (profile.proto, pprof's) between the process that takes it and
//   whoever shows it. Who may call: any thread. Ownership: values.
// Invariants: 1. A profile names functions, not addresses alone, and no file and no path: it can be
//   read on any machine. 2. Reading takes any bytes: what refers to nothing is "?".
// What fails: FromCpuSamples and Unpack, with INVALID_ARGUMENT.
#pragma once

#include <stdint.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/profile.pb.h"

namespace millrace {

// The name of the function that this address lies in; empty: not known.
using Symbolizer = std::function<std::string(uint64_t address)>;

// `words`: a CPU profile as gperftools writes it (its doc/cpuprofile-fileformat): header, records
// of count, depth and addresses, a trailer; what follows is not read. Values of a sample: samples,
// and nanoseconds of CPU time.
absl::StatusOr<Profile> FromCpuSamples(absl::Span<const uint64_t> words,
                                       const Symbolizer& symbolize);

// A sampled allocation that is still held: its stack, innermost first.
struct HeapSample {
  int64_t count = 0;  // objects
  int64_t bytes = 0;  // of them together
  std::vector<uint64_t> stack;
};

// `period_bytes`: allocations are sampled once in so many bytes, on average. Values of a sample:
// objects, and bytes, that it stands for. A stack stands once, without the allocator's own frames.
Profile FromHeapSamples(const std::vector<HeapSample>& samples, int64_t period_bytes,
                        const Symbolizer& symbolize);

// Whether its last values are bytes, not time.
bool IsOfBytes(const Profile& profile);

// A file as pprof reads it.
std::string Pack(const Profile& profile);
absl::StatusOr<Profile> Unpack(std::string_view packed);

// A function's share of the last of a profile's values.
struct ProfileLine {
  std::string function;
  int64_t self = 0;   // it was the innermost
  int64_t total = 0;  // it was anywhere in the stack; once, however often it stood there
};
// The largest `self` first.
std::vector<ProfileLine> ProfileTable(const Profile& profile);

// One line a stack, "outermost;...;innermost value", sorted: what flame graphs are drawn from.
std::string FoldedStacks(const Profile& profile);

}  // namespace millrace
