// What the supervisor said last of versions and their use, for whoever builds.
//
// Purpose: the word between the socket's reader and the builder that must make room.
// Who may call: any thread. Ownership: a copy. Nothing fails.
#pragma once

#include <stdint.h>

#include <condition_variable>
#include <mutex>

#include "ipc/control.pb.h"

namespace millrace {

class ModelUseBook {
 public:
  void Take(const ModelUse& use);
  // Once this generation is settled, or when so long has passed.
  ModelUse Wait(uint64_t generation, int64_t limit_ms) const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  ModelUse use_;
};

}  // namespace millrace
