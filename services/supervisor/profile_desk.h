// Profiles that were asked for and are being taken.
//
// Purpose: from the line of an operator to the process that samples itself, and back. Who may call:
//   the supervisor's main thread. Ownership: holds what came until it is asked for, or its limit.
// Invariants: 1. An answer counts only from the process that was asked, once. 2. What nobody comes
//   for is let go kPatienceNs after it was due; at most kMost are open.
// What fails: Outcome, with a sentence.
#pragma once

#include <stdint.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "ipc/control.pb.h"
#include "ipc/fd.h"

namespace millrace {

class ProfileDesk {
 public:
  static constexpr size_t kMost = 16;
  static constexpr size_t kMostBytes = 4 << 20;  // of a profile
  static constexpr int64_t kPatienceNs = 20 * kNanosPerSecond;

  // Whether this request was noted and its outcome not fetched.
  bool Has(uint64_t request) const { return open_.count(request) > 0; }
  // The process `key` was asked. RESOURCE_EXHAUSTED: too many are open.
  absl::Status Expect(uint64_t request, uint32_t key, int64_t now_ns, int64_t duration_ns);
  // What a process says. False: it was not asked.
  bool Take(uint32_t key, const ProfileTaken& taken, const std::vector<Fd>& fds);
  void ProcessGone(uint32_t key);
  // A Profile's bytes; nothing: not yet.
  std::optional<absl::StatusOr<std::string>> Outcome(uint64_t request, int64_t now_ns);

 private:
  struct Open {
    uint32_t key = 0;
    int64_t until_ns = 0;
    std::optional<absl::StatusOr<std::string>> outcome;
  };
  std::map<uint64_t, Open> open_;
};

}  // namespace millrace
