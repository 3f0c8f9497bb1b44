#include "services/registry/model_use_book.h"

#include <chrono>

namespace millrace {

void ModelUseBook::Take(const ModelUse& use) {
  std::lock_guard<std::mutex> lock(mutex_);
  use_ = use;
  changed_.notify_all();
}

ModelUse ModelUseBook::Wait(uint64_t generation, int64_t limit_ms) const {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(limit_ms),
                    [&] { return use_.settled_generation() >= generation; });
  return use_;
}

}  // namespace millrace
