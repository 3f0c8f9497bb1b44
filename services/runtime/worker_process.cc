#include "services/runtime/worker_process.h"

#include <atomic>
#include <memory>
#include <thread>

#include "common/clock.h"
#include "common/log.h"
#include "common/short_slices.h"
#include "ipc/idler.h"
#include "services/runtime/stacks.h"

namespace millrace {
namespace {

constexpr int64_t kQuietNs = 100 * kNanosPerMilli;

class WorkerProcess : public StageProcess {
 public:
  explicit WorkerProcess(WorkerStage* work) : work_(work) {}

  absl::Status OnStart(Start start) override {
    lane_ = start.lanes.at(0);
    worker_ = std::make_unique<Worker>(lane_);
    faults_ = FaultPlan::Make(start.config, lane_->id().stage, start.without_device);
    worker_->set_faults(faults_.get());
    absl::Status started =
        work_->Start({*worker_, start.config, start.without_device, std::move(start.tell)});
    if (!started.ok()) return started;
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  void OnPeerMapped(PeerLane* peer) override { work_->OnPeerMapped(peer); }

  void OnCatalog(CatalogWithPlans catalog, std::function<void(absl::Status)> ready) override {
    const auto models = catalog.catalog;
    const uint64_t generation = models->generation();
    FaultPlan::Models struck;
    if (faults_ != nullptr) struck = faults_->Match(*catalog.catalog);
    absl::StatusOr<std::function<void()>> use = work_->Prepare(std::move(catalog));
    if (!use.ok()) {
      Log(LogLevel::kError, "catalog_refused", {{"why", use.status().ToString()}});
      return ready(use.status());
    }
    lane_->Post([this, generation, models, use = std::move(*use), ready = std::move(ready),
                 struck = std::move(struck)] {
      for (const Model& m : models->models()) {
        lane_->stats().Name(m.route(), m.name(), m.version());
      }
      use();
      if (faults_ != nullptr) faults_->Use(struck);
      // relaxed: a statistic, read alone.
      lane_->page().catalog_generation.store(generation, std::memory_order_relaxed);
      ready(absl::OkStatus());
    });
  }

  void OnCatalogLive(uint64_t generation) override { work_->Settled(generation); }

  void OnDrain(std::function<void()> drained) override {
    lane_->Post([this, drained = std::move(drained)] { drained_ = drained; });
  }

  void OnStop() override {
    // relaxed: only the loop reads it; nothing depends on it.
    stop_.store(true, std::memory_order_relaxed);
    lane_->Post([] {});
    thread_.join();
  }

 private:
  void Run() {
    KnowThread("lane");
    AskForSlice(kShortSliceNs);
    int64_t last_work_ns = MonotonicNanos();
    // relaxed: OnStop asks for an end and hands nothing over.
    while (!stop_.load(std::memory_order_relaxed)) {
      const size_t taken = worker_->Poll();
      const int64_t begin_ns = MonotonicNanos();
      lane_->Turned(begin_ns);
      const size_t worked = work_->Work(*worker_);
      lane_->Flush();
      if (taken + worked > 0) {
        last_work_ns = MonotonicNanos();
        if (worked > 0) lane_->page().Add(Counter::kBusyNs, last_work_ns - begin_ns);
        idler_.Worked(taken + worked);
      } else if (idler_.ShouldPark(lane_->wait_mode(), lane_->InACrowd())) {
        Park();
      }
      if (drained_ != nullptr) ReportDrained(last_work_ns);
    }
  }

  void Park() {
    lane_->page().Set(Counter::kHogs, idler_.hogs());
    lane_->Arm();
    if (!worker_->HasWork() && !lane_->Sleep(Waiter::kMaxSleepMs) && worker_->HasWork()) {
      lane_->page().Add(Counter::kRescues);
    }
    lane_->Unpark();
  }

  void ReportDrained(int64_t last_work_ns) {
    if (!worker_->Idle() || !work_->Idle()) return;
    if (MonotonicNanos() - last_work_ns < kQuietNs) return;
    std::exchange(drained_, nullptr)();
  }

  WorkerStage* work_;
  Lane* lane_ = nullptr;
  std::unique_ptr<FaultPlan> faults_;  // null: none; outlives the worker
  std::unique_ptr<Worker> worker_;
  Idler idler_;
  std::thread thread_;
  std::atomic<bool> stop_{false};
  std::function<void()> drained_;
};

}  // namespace

int RunWorker(int argc, char** argv, Stage stage, WorkerStage* work) {
  WorkerProcess process(work);
  return RunProcess(argc, argv, stage, &process);
}

}  // namespace millrace
