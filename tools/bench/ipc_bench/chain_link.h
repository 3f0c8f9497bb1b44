// The chain's port over the links of ipc/: memfd halves, parking by eventfd, ipc/idler.h.
//
// Purpose: what a lane of the server has, without the server: a link in, a link out, a page.
// Who may call: chain.cc; MakeNeighbours in the parent before the fork, the port in the child.
// Ownership: a port owns its regions and descriptors.
// Invariants: 1. each region is made by the process that writes it, and opened by its neighbour
//   through a descriptor, as in the server. 2. Park looks once more between Arm and Sleep.
// What fails: set-up, by ending the process with the reason.
#pragma once

#include <array>
#include <optional>

#include "ipc/fd.h"
#include "ipc/idler.h"
#include "ipc/link.h"
#include "ipc/memfd.h"
#include "ipc/waiter.h"
#include "tools/bench/ipc_bench/chain_process.h"

namespace millrace::bench {

// Between process i and the next: both ends of a socket; and the eventfd of each.
struct ChainWires {
  std::array<std::array<Fd, 2>, kChainProcesses> sockets;
  std::array<Fd, kChainProcesses> eventfds;
};
ChainWires MakeWires();

class LinkPort {
 public:
  LinkPort(int index, WaitMode mode, const ChainWires& wires, ChainCounters* counters);

  size_t Take(Message* messages, size_t limit) {
    size_t count = 0;
    while (count < limit) {
      const LinkResult result = in_->Take(&messages[count]);
      MR_CHECK(result != LinkResult::kFault, "an honest producer's link is whole");
      if (result == LinkResult::kEmpty) break;
      ++count;
    }
    if (count > 0) {
      in_->PublishCredits();
      idler_.Worked();
    } else if (idler_.ShouldPark(mode_)) {
      Park();
    }
    return count;
  }

  void Send(const Message& message) {
    if (!out_->CanSubmit()) Collect();
    out_->Submit(message);
    sent_ = true;
  }

  void Flush() {
    if (sent_) waker_.Wake();
    sent_ = false;
  }

 private:
  struct CountedIdling : RealIdling {
    static inline std::atomic<uint64_t>* yields = nullptr;
    static void Yield() {
      Count(yields);
      RealIdling::Yield();
    }
  };

  void Park();
  void Collect();

  const WaitMode mode_;
  ChainCounters* const counters_;
  Region page_, next_page_;
  std::optional<LinkConsumer> in_;
  std::optional<LinkProducer> out_;
  Waiter waiter_;
  Waker waker_;
  BasicIdler<CountedIdling> idler_;
  bool sent_ = false;
};

}  // namespace millrace::bench
