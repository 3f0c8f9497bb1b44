// Subjects `boost_mq_spin` and `boost_mq_block`: Boost.Interprocess's message_queue.
//
// Purpose: what a user would take from Boost, polled (try_send, try_receive, one pause between) and
//   sleeping (send, receive). Who may call: the two processes of a run (pair.h). Ownership: the
//   queues' names are gone before the processes are forked; they share the mappings.
// What fails: a process killed inside leaves the other waiting for ever; the driver ends it.
#pragma once

#include <unistd.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench/ipc_bench/pair.h"
#include "tools/bench/ipc_bench/subjects/spsc_ring.h"
#include "tools/bench/ipc_bench/touch.h"

namespace millrace::bench {

template <bool kSpin>
class BoostMq {
 public:
  using Queue = boost::interprocess::message_queue;

  static const char* Refusal(size_t) { return nullptr; }

  struct Shared {
    explicit Shared(size_t bytes) {
      for (size_t i = 0; i < 2; ++i) {
        const std::string name =
            "millrace_bench_" + std::to_string(getpid()) + "_" + std::to_string(i);
        Queue::remove(name.c_str());
        queues[i].emplace(boost::interprocess::create_only, name.c_str(), WindowOf(bytes), bytes);
        Queue::remove(name.c_str());
      }
    }
    std::optional<Queue> queues[2];
  };

  class End {
   public:
    End(Shared& shared, Side side, size_t bytes)
        : buffer_(bytes),
          out_(*shared.queues[static_cast<size_t>(side)]),
          in_(*shared.queues[1 - static_cast<size_t>(side)]) {}

    void Send(uint64_t stamp) {
      FillBytes(buffer_.data(), buffer_.size(), stamp);
      if constexpr (kSpin) {
        while (!out_.try_send(buffer_.data(), buffer_.size(), 0)) Pause();
      } else {
        out_.send(buffer_.data(), buffer_.size(), 0);
      }
    }

    bool Receive(uint64_t stamp) {
      Queue::size_type received = 0;
      unsigned priority;
      if constexpr (kSpin) {
        while (!in_.try_receive(buffer_.data(), buffer_.size(), received, priority)) Pause();
      } else {
        in_.receive(buffer_.data(), buffer_.size(), received, priority);
      }
      return received == buffer_.size() && CheckBytes(buffer_.data(), received, stamp);
    }

   private:
    std::vector<std::byte> buffer_;
    Queue &out_, &in_;
  };
};

}  // namespace millrace::bench
