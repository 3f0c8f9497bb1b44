// What a worker has taken and not begun: the highest priority first, then the earliest deadline,
// then the longest wait.
//
// Purpose: items are large: they are made where they stay, and what the order moves are their keys.
//   Most come in the order in which they go; those stand in a line, which costs nothing to keep.
//   Who may call: the worker's lane. Nothing is allocated up to the number of items it was made
//   for.
// Invariants: 1. top and PopInto are of an item that was put and not popped: never of an empty
// queue. 2. What Room gave is the next Room's again until Put. Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <vector>

#include "common/check.h"

namespace millrace {

template <typename Item>
class WorkQueue {
 public:
  explicit WorkQueue(size_t usual) {
    line_.reserve(usual);
    heap_.reserve(usual);
    items_.reserve(usual);
    free_.reserve(usual);
  }

  bool empty() const { return size() == 0; }
  size_t size() const { return line_.size() - front_ + heap_.size(); }
  const Item& top() const { return items_[First().place]; }

  // Where the next item is made: it holds whatever was there before. Valid until Put.
  Item* Room() {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(items_.size()));
      items_.emplace_back();
    }
    return &items_[free_.back()];
  }
  // Takes in the item that was made there. `rank`: PriorityRank (ipc/ledger.h).
  void Put(uint32_t rank, int64_t deadline_ns) {
    MR_CHECK(!free_.empty(), "an item is put that has no room");
    const Key key = {deadline_ns, next_++, rank, free_.back()};
    free_.pop_back();
    if (front_ == line_.size()) {
      line_.clear();
      front_ = 0;
    }
    if (line_.empty() || Later()(key, line_.back())) {
      if (line_.size() == line_.capacity()) MoveUp();
      line_.push_back(key);
    } else {
      heap_.push_back(key);
      std::push_heap(heap_.begin(), heap_.end(), Later());
    }
  }

  void PopInto(Item* item) {
    MR_CHECK(!empty(), "an item is taken from an empty queue");
    const uint32_t place = First().place;
    if (LineIsFirst()) {
      ++front_;
    } else {
      std::pop_heap(heap_.begin(), heap_.end(), Later());
      heap_.pop_back();
    }
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

  bool LineIsFirst() const {
    if (front_ == line_.size()) return false;
    return heap_.empty() || Later()(heap_.front(), line_[front_]);
  }
  const Key& First() const { return LineIsFirst() ? line_[front_] : heap_.front(); }
  // The room of those that went, for those that come.
  void MoveUp() {
    line_.erase(line_.begin(), line_.begin() + static_cast<ptrdiff_t>(front_));
    front_ = 0;
  }

  std::vector<Key> line_;  // from `front_` on, each later than the one before it
  size_t front_ = 0;
  std::vector<Key> heap_;  // the others
  std::vector<Item> items_;
  std::vector<uint32_t> free_;  // places; the last used is used first: it is warm
  uint64_t next_ = 0;
};

}  // namespace millrace
