// The pages of large regions, entered into this process's mappings while nothing else happens.
//
// Purpose: a worker that comes in another's stead serves first: mapping the pages of its arena
//   takes longer than much of its start. Who is earlier than this takes a fault of a microsecond a
//   page. Peers' arenas are left to faults: each brings in 64 KiB, few blocks are ever touched, and
//   what was mapped must be unmapped when the process dies, while its requests wait for the cores.
// Who may call: the control thread. Ownership: holds regions weakly; one that ends is passed over.
// Invariants: 1. no step takes longer than kStepBytes of pages, and there are kBetweenMs between
//   two: a few per cent of a core, since requests that had to wait are being answered meanwhile.
//   2. The first step comes kQuietMs after the last message. Nothing fails.
#pragma once

#include <stddef.h>

#include <deque>
#include <memory>

#include "ipc/memfd.h"

namespace millrace {

class PageEntry {
 public:
  static constexpr int kQuietMs = 50;
  static constexpr int kBetweenMs = 5;
  static constexpr size_t kStepBytes = 1 << 20;

  // `region` lives as long as `owner`.
  void Add(const std::shared_ptr<const void>& owner, const Region* region) {
    waiting_.push_back({owner, region, 0});
  }
  // For poll: how long nothing else must happen before Step is called; -1: for ever.
  int WaitMs(bool stepped_before) const {
    return waiting_.empty() ? -1 : stepped_before ? kBetweenMs : kQuietMs;
  }
  void Step();
  size_t waiting() const { return waiting_.size(); }

 private:
  struct Part {
    std::weak_ptr<const void> owner;
    const Region* region;
    size_t entered;
  };
  std::deque<Part> waiting_;
};

}  // namespace millrace
