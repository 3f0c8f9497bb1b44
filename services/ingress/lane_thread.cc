#include "services/ingress/lane_thread.h"

#include <sched.h>

#include "common/clock.h"

namespace millrace {
namespace {

// Longer than a round trip through all stages (as in services/runtime/worker_process.cc).
constexpr int64_t kYieldNs = 100 * kNanosPerMicro;

}  // namespace

LaneThread::LaneThread(Lane* lane, Ledger* ledger, const Config& config)
    : lane_(lane), ingress_(lane, ledger, config) {}

void LaneThread::Start(std::unique_ptr<ProtocolServer> server) {
  server_ = std::move(server);
  thread_ = std::thread([this] { Run(); });
}

void LaneThread::Drain(std::function<void()> drained) {
  lane_->Post([this, drained = std::move(drained)] {
    server_->Drain();
    drained_ = drained;
  });
}

void LaneThread::Stop() {
  // relaxed: only the loop reads it; nothing depends on it.
  stop_.store(true, std::memory_order_relaxed);
  lane_->Post([] {});
  if (thread_.joinable()) thread_.join();
}

void LaneThread::Run() {
  int64_t last_work_ns = MonotonicNanos();
  // relaxed: see Stop.
  while (!stop_.load(std::memory_order_relaxed)) {
    size_t done = ingress_.Poll();
    done += server_->Poll();
    lane_->Flush();
    const int64_t now = MonotonicNanos();
    if (done > 0) {
      last_work_ns = now;
    } else if (now - last_work_ns < kYieldNs) {
      sched_yield();
    } else {
      Park();
    }
    if (drained_ != nullptr && server_->Drained() && ingress_.in_flight() == 0) {
      std::exchange(drained_, nullptr)();
    }
  }
  server_->Shutdown();
}

void LaneThread::Park() {
  lane_->Arm();
  if (!lane_->HasWork()) server_->Block(ingress_.MaxSleepNs());
  lane_->Unpark();
}

}  // namespace millrace
