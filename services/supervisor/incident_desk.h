// What ingress told of requests that kill, and of models that are shut out.
//
// Purpose: `millrace quarantine` and the breakers of `millrace status`; outlives every worker and
//   every ingress process. Who may call: the supervisor's main thread.
// Invariants:
//   1. At most kMost poisoned requests are kept, the newest; `poisoned` counts all.
//   2. Texts are cut to kMaxText: what a process says is untrusted.
//   3. A breaker stands here as long as the process whose lane it is in, and is not closed.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "ipc/control.pb.h"

namespace millrace {

class IncidentDesk {
 public:
  static constexpr size_t kMost = 256;
  static constexpr size_t kMostBreakers = 1024;
  static constexpr size_t kMaxText = 256;
  static constexpr int kMaxParts = 64;  // tensors and deaths of a record

  void Add(Quarantined record);
  void Add(BreakerChanged change, uint32_t process);
  void Ended(uint32_t process);

  const std::deque<Quarantined>& quarantine() const { return quarantine_; }
  uint64_t poisoned() const { return poisoned_; }
  struct Breaker {
    uint32_t process = 0;
    BreakerChanged change;
  };
  static std::string_view StateName(uint32_t state);
  using Key = std::tuple<uint32_t, std::string, std::string>;  // lane, model, version
  const std::map<Key, Breaker>& breakers() const { return breakers_; }

 private:
  std::deque<Quarantined> quarantine_;
  uint64_t poisoned_ = 0;
  std::map<Key, Breaker> breakers_;
};

}  // namespace millrace
