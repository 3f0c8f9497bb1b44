#include "services/ingress/lane_thread.h"

#include <sched.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

namespace millrace {
namespace {

// Longer than a round trip through all stages (as in services/runtime/worker_process.cc).
constexpr int64_t kYieldNs = 100 * kNanosPerMicro;

}  // namespace

LaneThread::LaneThread(Lane* lane, Ledger* ledger, const Config& config)
    : lane_(lane), ingress_(lane, ledger, config) {}

void LaneThread::Start(MakeServer make) {
  make_ = std::move(make);
  thread_ = std::thread([this] { Run(); });
}

void LaneThread::Drain(std::function<void()> drained) {
  lane_->Post([this, drained = std::move(drained)] {
    if (server_ != nullptr) server_->Drain();
    make_ = nullptr;
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
  // relaxed: Stop asks for an end and hands nothing over.
  while (!stop_.load(std::memory_order_relaxed)) {
    size_t done = ingress_.Poll();
    if (server_ == nullptr) OpenWhenReady();
    if (server_ != nullptr) done += server_->Poll();
    lane_->Flush();
    const int64_t now = MonotonicNanos();
    if (done > 0) {
      last_work_ns = now;
    } else if (now - last_work_ns < kYieldNs) {
      sched_yield();
    } else {
      Park();
    }
    const bool answered = server_ == nullptr || server_->Drained();
    if (drained_ != nullptr && answered && ingress_.in_flight() == 0) {
      std::exchange(drained_, nullptr)();
    }
  }
  if (server_ != nullptr) server_->Shutdown();
}

void LaneThread::OpenWhenReady() {
  if (make_ == nullptr || !ingress_.ServerReady()) return;
  absl::StatusOr<std::unique_ptr<ProtocolServer>> server = std::exchange(make_, nullptr)();
  if (!server.ok()) Log(LogLevel::kError, "cannot_serve", {{"why", server.status().ToString()}});
  MR_CHECK(server.ok(), "a listening socket of the keeper's cannot be used");
  server_ = std::move(*server);
}

void LaneThread::Park() {
  lane_->Arm();
  if (!lane_->HasWork()) {
    const int64_t most_ns = ingress_.MaxSleepNs();
    if (server_ != nullptr) {
      server_->Block(most_ns);
    } else {
      lane_->Sleep(static_cast<int>(most_ns / kNanosPerMilli));
    }
  }
  lane_->Unpark();
}

}  // namespace millrace
