// What was asked of the supervisor and is not answered yet, each under a number of its own.
//
// Who may call: any thread. Ownership: holds what is to be called with the answer.
// Invariants: 1. A number is given once in a process. 2. What was added is taken once. Nothing
// fails.
#pragma once

#include <stdint.h>

#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace millrace {

template <typename Done>
class Waiting {
 public:
  uint64_t Add(Done done) {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_[++last_] = std::move(done);
    return last_;
  }
  // Nothing: it was never added, or taken already.
  std::optional<Done> Take(uint64_t number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto node = waiting_.extract(number);
    if (node.empty()) return std::nullopt;
    return std::move(node.mapped());
  }

 private:
  std::mutex mutex_;  // off the path of requests
  uint64_t last_ = 0;
  std::map<uint64_t, Done> waiting_;
};

}  // namespace millrace
