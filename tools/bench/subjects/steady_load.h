// A steady load beside which a bench does something else.
//
// Purpose: an open loop over gRPC at a rate, from a thread of its own, that keeps when each request
//   was sent and how long it took. Who may call: one thread. Ownership: borrows the golden set.
// Invariants: an answer is in Between once it has come; Stop waits for those that are out.
// What fails: nothing here; what a request met is in its answer and in the result.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "tools/load/driver.h"
#include "tools/load/golden.h"
#include "tools/load/transport.h"

namespace millrace {

class SteadyLoad {
 public:
  struct Answer {
    int64_t sent_ns = 0, took_ns = 0;
    bool right = false;
  };

  SteadyLoad(const GoldenSet& set, const std::string& address, double rate_per_s,
             int64_t deadline_ms) {
    TransportOptions options;
    options.address = address;
    options.connections = 4;
    options.deadline_ms = deadline_ms;
    options.open_loop = true;
    transport_ = MakeGrpcTransport(set, options, kSlots);
    drive_.in_flight = kSlots;
    drive_.rate_per_s = rate_per_s;
    drive_.stop = &stop_;
    thread_ = std::thread([this, count = set.requests.size()] {
      MonotonicClock clock;
      DriveWatch watch;
      watch.event = [this](const DriveEvent& event) { On(event); };
      result_ = Drive(transport_.get(), &clock, count, drive_, watch);
    });
  }
  DriveResult Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return result_;
  }
  ~SteadyLoad() { Stop(); }

  // Of requests that were sent within that time.
  std::vector<Answer> Between(int64_t from_ns, int64_t to_ns) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Answer> answers;
    for (const Answer& answer : answers_) {
      if (answer.sent_ns >= from_ns && answer.sent_ns < to_ns) answers.push_back(answer);
    }
    return answers;
  }

 private:
  void On(const DriveEvent& event) {
    if (event.kind == DriveEvent::Kind::kSent) sent_[event.number] = event.at_ns;
    if (event.kind != DriveEvent::Kind::kEnded) return;
    const int64_t sent_ns = sent_[event.number];
    sent_.erase(event.number);
    const std::lock_guard<std::mutex> lock(mutex_);
    answers_.push_back({sent_ns, event.at_ns - sent_ns, event.code == "OK"});
  }

  static constexpr int kSlots = 256;

  DriveOptions drive_;
  std::unique_ptr<Transport> transport_;
  std::unordered_map<int64_t, int64_t> sent_;
  std::mutex mutex_;
  std::vector<Answer> answers_;
  std::atomic<bool> stop_ = false;
  DriveResult result_;
  std::thread thread_;
};

}  // namespace millrace
