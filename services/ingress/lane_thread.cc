#include "services/ingress/lane_thread.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/short_slices.h"

namespace millrace {
namespace {

constexpr size_t kManyEvents = 64;  // in a turn: there are more, which cannot wait
constexpr int kWakeMs = 1;          // from a message to the wake-up behind it, at most

}  // namespace

LaneThread::LaneThread(Lane* lane, Ledger* ledger, const Config& config, IngressShared shared)
    : lane_(lane), ingress_(lane, ledger, config, std::move(shared)) {}

void LaneThread::Start(MakeServer make, bool hold) {
  make_ = std::move(make);
  hold_ = hold;
  thread_ = std::thread([this] { Run(); });
}

void LaneThread::Open() {
  lane_->Post([this] { hold_ = false; });
}

void LaneThread::Drain(std::function<void()> drained) {
  lane_->Post([this, drained = std::move(drained)] {
    make_ = nullptr;
    drained_ = drained;
    BeginDrain();
  });
}

void LaneThread::Move(int64_t until_ns, std::function<void()> drained) {
  lane_->Post([this, until_ns, drained = std::move(drained)] {
    make_ = nullptr;
    drained_ = drained;
    move_until_ns_ = until_ns;
    if (server_ != nullptr) server_->Move();
  });
}

void LaneThread::BeginDrain() {
  move_until_ns_ = 0;
  if (server_ != nullptr) server_->Drain();
  ingress_.StopProbing();
}

void LaneThread::StepDrain() {
  const bool answered = server_ == nullptr || server_->Drained();
  if (move_until_ns_ != 0) {
    if (!answered && MonotonicNanos() < move_until_ns_) return;
    Log(LogLevel::kInfo, "clients_moved", {{"lane", lane_->id().lane}, {"all", answered}});
    return BeginDrain();
  }
  if (answered && ingress_.in_flight() == 0) std::exchange(drained_, nullptr)();
}

void LaneThread::Stop() {
  // relaxed: only the loop reads it; nothing depends on it.
  stop_.store(true, std::memory_order_relaxed);
  lane_->Post([] {});
  if (thread_.joinable()) thread_.join();
}

void LaneThread::Run() {
  AskForSlice(kShortSliceNs);
  // relaxed: Stop asks for an end and hands nothing over.
  while (!stop_.load(std::memory_order_relaxed)) {
    size_t done = ingress_.Poll();
    if (server_ == nullptr) OpenWhenReady();
    const size_t events = server_ != nullptr ? server_->Poll() : 0;
    done += events;
    lane_->Flush();
    const int64_t rest_ns = ingress_.TakeRestNs();
    if (rest_ns >= kNanosPerMilli && events < kManyEvents) {
      Rest(rest_ns);
    } else if (done > 0) {
      idler_.Worked(done);
    } else if (idler_.ShouldPark(lane_->wait_mode(), lane_->InACrowd())) {
      Park();
    }
    if (drained_ != nullptr) StepDrain();
  }
  if (server_ != nullptr) server_->Shutdown();
}

void LaneThread::OpenWhenReady() {
  if (make_ == nullptr || hold_ || !ingress_.MayOpen()) return;
  absl::StatusOr<std::unique_ptr<ProtocolServer>> server = std::exchange(make_, nullptr)();
  if (!server.ok()) Log(LogLevel::kError, "cannot_serve", {{"why", server.status().ToString()}});
  MR_CHECK(server.ok(), "a listening socket of the keeper's cannot be used");
  server_ = std::move(*server);
}

bool LaneThread::Sleep(int64_t most_ns) {
  if (server_ != nullptr) return server_->Block(most_ns);
  return lane_->Sleep(static_cast<int>(most_ns / kNanosPerMilli));
}

void LaneThread::Rest(int64_t most_ns) {
  lane_->Arm();
  if (!lane_->HasWork()) lane_->Sleep(static_cast<int>(most_ns / kNanosPerMilli));
  lane_->Unpark();
}

void LaneThread::Park() {
  lane_->page().Set(Counter::kHogs, idler_.hogs());
  lane_->Arm();
  if (!lane_->HasWork() && !Sleep(ingress_.MaxSleepNs())) {
    // The time was up. A wake-up that is on its way is none that was lost: a worker publishes all
    // that its turn made and then wakes.
    if (lane_->HasWork() && !lane_->Sleep(kWakeMs)) lane_->page().Add(Counter::kRescues);
  }
  lane_->Unpark();
}

}  // namespace millrace
