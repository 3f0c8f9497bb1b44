// The slots of flights that wait for a worker, in order, in memory that is made once.
//
// Purpose: a queue that allocates nothing on the path of requests. Who may call: the ingress lane.
// Invariant: it never holds more slots than it was made for. Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "common/check.h"

namespace millrace {

class SlotQueue {
 public:
  explicit SlotQueue(size_t capacity) : ring_(capacity) {}

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  uint16_t front() const { return ring_[first_]; }

  void push_back(uint16_t slot) {
    MR_CHECK(size_ < ring_.size(), "more flights wait than there are slots");
    ring_[At(size_++)] = slot;
  }
  void push_front(uint16_t slot) {
    MR_CHECK(size_ < ring_.size(), "more flights wait than there are slots");
    first_ = first_ == 0 ? ring_.size() - 1 : first_ - 1;
    ring_[first_] = slot;
    ++size_;
  }
  void pop_front() {
    first_ = At(1);
    --size_;
  }
  void erase(uint16_t slot) {
    size_t kept = 0;
    for (size_t i = 0; i < size_; ++i) {
      if (ring_[At(i)] != slot) ring_[At(kept++)] = ring_[At(i)];
    }
    size_ = kept;
  }

 private:
  size_t At(size_t i) const {
    const size_t at = first_ + i;
    return at < ring_.size() ? at : at - ring_.size();
  }

  std::vector<uint16_t> ring_;
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace millrace
