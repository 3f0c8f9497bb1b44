// What a worker has taken and not begun: the highest priority first, then the earliest deadline,
// then the longest wait.
//
// Purpose: items are large and stay where they were put; what the order moves are their keys. Who
//   may call: the worker's lane. Nothing is allocated up to the number of items it was made for.
// Invariants: 1. top and Pop are of an item that was pushed and not popped: never of an empty
// queue. Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/check.h"

namespace millrace {

template <typename Item>
class WorkQueue {
 public:
  explicit WorkQueue(size_t usual) {
    heap_.reserve(usual);
    items_.reserve(usual);
    free_.reserve(usual);
  }

  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  const Item& top() const { return items_[heap_.front().place]; }

  // `rank`: PriorityRank (ipc/ledger.h).
  void Push(const Item& item, uint32_t rank, int64_t deadline_ns) {
    uint32_t place = static_cast<uint32_t>(items_.size());
    if (free_.empty()) {
      items_.push_back(item);
    } else {
      place = free_.back();
      free_.pop_back();
      items_[place] = item;
    }
    heap_.push_back({deadline_ns, next_++, rank, place});
    std::push_heap(heap_.begin(), heap_.end(), Later());
  }

  Item Pop() {
    Item item;
    PopInto(&item);
    return item;
  }
  void PopInto(Item* item) {
    MR_CHECK(!heap_.empty(), "an item is taken from an empty queue");
    std::pop_heap(heap_.begin(), heap_.end(), Later());
    const uint32_t place = heap_.back().place;
    heap_.pop_back();
    free_.push_back(place);
    *item = items_[place];
  }

 private:
  struct Key {
    int64_t deadline_ns;
    uint64_t order;  // of arrival
    uint32_t rank;
    uint32_t place;  // among the items
  };
  // The heap's order: its top is what nothing is before.
  struct Later {
    bool operator()(const Key& a, const Key& b) const {
      if (a.rank != b.rank) return a.rank > b.rank;
      if (a.deadline_ns != b.deadline_ns) return a.deadline_ns > b.deadline_ns;
      return a.order > b.order;
    }
  };

  std::vector<Key> heap_;
  std::vector<Item> items_;
  std::vector<uint32_t> free_;  // places; the last used is used first: it is warm
  uint64_t next_ = 0;
};

}  // namespace millrace
