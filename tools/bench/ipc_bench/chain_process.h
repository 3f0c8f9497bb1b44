// The duty cycle of a process of a chain, the same over every port.
//
// Purpose: what a lane does: take a bounded number, work on each, publish, wake once, or wait.
// Who may call: chain.cc, in the child processes. A Port is
//     size_t Take(Message* messages, size_t limit);  // 0: nothing there, and it has waited a turn
//     void Send(const Message& message);             // published now or by the next Flush
//     void Flush();                                  // after a batch
// Invariants: 1. one Flush a batch; 2. the source has at most `in_flight` requests out.
// What fails: nothing; what comes back wrong is counted.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "common/check.h"
#include "common/clock.h"
#include "tools/bench/ipc_bench/chain.h"
#include "tools/bench/ipc_bench/chain_message.h"
#include "tools/bench/ipc_bench/latency_histogram.h"

namespace millrace::bench {

inline constexpr size_t kDrain = 64;
inline constexpr uint64_t kMostInFlight = 32;
// Slots of a link and places of a queue under a lock: twice what can be in flight.
inline constexpr uint64_t kChainSlots = 2 * kMostInFlight;
// A stage wakes the next one after so many messages of a batch, so that both cores work; a wake
// costs its caller about as much as one message's work.
inline constexpr size_t kWakeEvery = 4;

// Written by one process each, read by the parent between rounds.
struct alignas(128) ChainCounters {
  std::atomic<uint64_t> parks, yields, hogs, rescues, shared_bytes;
};

// One writer a counter.
inline void Count(std::atomic<uint64_t>* counter, uint64_t n = 1) {
  // relaxed: a statistic, read while nothing runs.
  counter->store(counter->load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

struct ChainAnswers {
  uint64_t measured, answers, wrong;
  int64_t measured_ns;
  LatencyHistogram latencies;
};

template <typename Port>
class ChainStage {
 public:
  ChainStage(Port* port, uint64_t stage, ChainFault fault)
      : port_(port), stage_(stage), fault_(fault) {}

  void Turn() {
    Message batch[kDrain];
    const size_t count = port_->Take(batch, kDrain);
    for (size_t i = 0; i < count; ++i) {
      DoWork(PayloadOf(batch[i]).work_loops);
      if (fault_ == ChainFault::kNone || batch[i].id % 64 != 63) {
        MarkStage(&batch[i], stage_);
        Send(batch[i]);
      } else {
        SendWrong(batch[i]);
      }
      if ((i + 1) % kWakeEvery == 0) port_->Flush();
    }
    if (count > 0) port_->Flush();
  }

 private:
  void Send(const Message& message) {
    port_->Send(message);
    if (!has_kept_) return;
    has_kept_ = false;
    port_->Send(kept_);
  }

  void SendWrong(Message message) {
    if (fault_ != ChainFault::kSkipMark) MarkStage(&message, stage_);
    if (fault_ == ChainFault::kChange)
      message.payload[offsetof(ChainPayload, echo)] ^= std::byte{1};
    if (fault_ == ChainFault::kLose) return;
    if (fault_ == ChainFault::kSwap) {
      kept_ = message;
      has_kept_ = true;
      return;
    }
    port_->Send(message);
    if (fault_ == ChainFault::kRepeat) port_->Send(message);
  }

  Port* port_;
  const uint64_t stage_;
  const ChainFault fault_;
  Message kept_;
  bool has_kept_ = false;
};

template <typename Port>
class ChainSource {
 public:
  explicit ChainSource(Port* port) : port_(port) {}

  void Run(const ChainLoad& load, ChainAnswers* answers) {
    *answers = {};
    const uint64_t first = sent_;
    const int64_t begin_ns = MonotonicNanos();
    const int64_t measure_ns = begin_ns + load.warm_ns;
    const int64_t end_ns = measure_ns + load.run_ns;
    int64_t now_ns = begin_ns;
    int64_t last_ns = begin_ns;
    const auto wants_more = [&] {
      return load.requests > 0 ? sent_ - first < load.requests : now_ns < end_ns;
    };
    while (true) {
      while (sent_ - taken_ < static_cast<uint64_t>(load.in_flight) && wants_more()) {
        Send(load, now_ns);
        now_ns = MonotonicNanos();
      }
      port_->Flush();
      if (sent_ == taken_) break;
      Message batch[kDrain];
      const size_t count = port_->Take(batch, kDrain);
      now_ns = MonotonicNanos();
      if (count > 0) last_ns = now_ns;
      for (size_t i = 0; i < count; ++i) {
        Check(batch[i], load, answers);
        if (now_ns >= measure_ns && (load.requests > 0 || now_ns < end_ns)) {
          answers->latencies.Add(now_ns - sent_ns_[batch[i].id % kMostInFlight]);
          answers->measured_ns = now_ns - measure_ns;
        }
        if (wants_more()) Send(load, now_ns);
        now_ns = MonotonicNanos();
      }
      if (now_ns - last_ns > Chain::kLostNs) {
        answers->wrong += sent_ - taken_;
        taken_ = sent_;
      }
    }
    answers->measured = answers->latencies.total();
  }

 private:
  void Send(const ChainLoad& load, int64_t now_ns) {
    sent_ns_[sent_ % kMostInFlight] = now_ns;
    port_->Send(MakeRequest(sent_++, load.work_loops));
  }

  // What is missing counts when its successor comes; what comes late or twice counts then.
  void Check(const Message& message, const ChainLoad& load, ChainAnswers* answers) {
    ++answers->answers;
    if (!IsAnswer(message, taken_, load.work_loops)) ++answers->wrong;
    if (message.id >= taken_ && message.id < sent_) taken_ = message.id + 1;
  }

  Port* port_;
  uint64_t sent_ = 0, taken_ = 0;
  int64_t sent_ns_[kMostInFlight] = {};
};

}  // namespace millrace::bench
