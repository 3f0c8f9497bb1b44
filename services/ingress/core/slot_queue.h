// The slots of flights that wait for a worker: the highest priority first, then the nearest
// deadline, then the longest wait. In memory that is made once.
//
// Purpose: a queue that allocates nothing on the path of requests. Who may call: the ingress lane.
// Invariants: 1. a slot is in it once at most; 2. it never holds more slots than it was made for.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "common/check.h"

namespace millrace {

class SlotQueue {
 public:
  // For slots 0 to `slots` - 1.
  explicit SlotQueue(size_t slots) : keys_(slots), places_(slots, kNowhere) {
    heap_.reserve(slots);
  }

  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  uint16_t front() const { return heap_[0]; }

  // `rank`: PriorityRank (ipc/ledger.h).
  void Push(uint16_t slot, uint32_t rank, int64_t deadline_ns) {
    MR_CHECK(slot < places_.size() && places_[slot] == kNowhere, "a slot waits once");
    keys_[slot] = {rank, deadline_ns, next_++};
    heap_.push_back(slot);
    places_[slot] = static_cast<uint16_t>(heap_.size() - 1);
    ++of_rank_[std::min<size_t>(rank, of_rank_.size() - 1)];
    Rise(heap_.size() - 1);
  }
  // How many stand before one of that rank that comes now.
  size_t Ahead(uint32_t rank) const {
    size_t ahead = 0;
    for (size_t r = 0; r <= std::min<size_t>(rank, of_rank_.size() - 1); ++r) ahead += of_rank_[r];
    return ahead;
  }
  // The last one, in the order of the queue, for which `may` holds. Looks at all of them.
  template <typename May>
  std::optional<uint16_t> Last(const May& may) const {
    std::optional<uint16_t> last;
    for (const uint16_t slot : heap_) {
      if (may(slot) && (!last.has_value() || keys_[*last] < keys_[slot])) last = slot;
    }
    return last;
  }
  uint32_t rank(uint16_t slot) const { return std::get<0>(keys_[slot]); }
  // The slot that was taken last, as it stood.
  void PutBack(uint16_t slot) {
    const Key key = keys_[slot];
    Push(slot, std::get<0>(key), std::get<1>(key));
    keys_[slot] = key;
    Rise(places_[slot]);
  }
  uint16_t PopFront() {
    const uint16_t slot = heap_[0];
    Erase(slot);
    return slot;
  }
  void Erase(uint16_t slot) {
    const size_t place = places_[slot];
    if (place == kNowhere) return;
    places_[slot] = kNowhere;
    --of_rank_[std::min<size_t>(rank(slot), of_rank_.size() - 1)];
    const uint16_t last = heap_.back();
    heap_.pop_back();
    if (last == slot) return;
    Set(place, last);
    Rise(place);
    Sink(places_[last]);
  }

 private:
  static constexpr uint16_t kNowhere = UINT16_MAX;
  using Key = std::tuple<uint32_t, int64_t, uint64_t>;  // rank, deadline, order of arrival

  bool Before(size_t a, size_t b) const { return keys_[heap_[a]] < keys_[heap_[b]]; }
  void Set(size_t place, uint16_t slot) {
    heap_[place] = slot;
    places_[slot] = static_cast<uint16_t>(place);
  }
  void Swap(size_t a, size_t b) {
    const uint16_t slot = heap_[a];
    Set(a, heap_[b]);
    Set(b, slot);
  }
  void Rise(size_t place) {
    for (; place > 0 && Before(place, (place - 1) / 2); place = (place - 1) / 2) {
      Swap(place, (place - 1) / 2);
    }
  }
  void Sink(size_t place) {
    while (true) {
      size_t first = place;
      for (size_t child = 2 * place + 1; child <= 2 * place + 2; ++child) {
        if (child < heap_.size() && Before(child, first)) first = child;
      }
      if (first == place) return;
      Swap(place, first);
      place = first;
    }
  }

  std::vector<Key> keys_;         // by slot
  std::vector<uint16_t> places_;  // by slot, in the heap
  std::vector<uint16_t> heap_;
  std::array<uint32_t, 256> of_rank_ = {};
  uint64_t next_ = 0;
};

}  // namespace millrace
