// The ingress process: see README.md beside this file.
#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "services/ingress/lane_thread.h"
#include "services/runtime/process.h"

namespace millrace {
namespace {

// Lanes are numbered as in the supervisor's table.
constexpr std::array<const char*, 3> kListenerOfLane = {"grpc", "http", "local"};
constexpr std::array kServerOfLane = {MakeGrpcServer, MakeHttpServer, MakeLocalServer};

class IngressProcess : public StageProcess {
 public:
  absl::Status OnStart(Start start) override {
    listeners_ = std::move(start.listeners);
    ClientRegionsOptions options;
    options.allowed = start.config.allow_client_shm == "true";
    options.prefixes = SplitPrefixes(start.config.client_shm_prefix);
    options.max_request_bytes = start.config.max_request_bytes;
    regions_ = std::make_unique<ClientRegions>(options);
    for (size_t i = 0; i < start.lanes.size(); ++i) {
      Lane* lane = start.lanes[i];
      auto thread = std::make_unique<LaneThread>(lane, start.ledgers.at(i), start.config);
      const size_t number = lane->id().lane;
      if (number >= kListenerOfLane.size()) return absl::InternalError("a lane of no known number");
      auto listener = listeners_.find(kListenerOfLane[number]);
      if (listener == listeners_.end()) return absl::InternalError("a lane without its listener");
      thread->Start([this, make = kServerOfLane[number], lane, ingress = &thread->ingress(),
                     config = start.config, socket = listener->second.get()] {
        return make({ingress, lane->wake_fd(), config, socket, regions_.get()});
      });
      threads_.push_back(std::move(thread));
    }
    return absl::OkStatus();
  }

  void OnCatalog(CatalogWithPlans catalog, std::function<void(absl::Status)> ready) override {
    for (auto& thread : threads_) thread->ingress().SetCatalog(catalog.catalog);
    ready(absl::OkStatus());
  }

  void OnCatalogLive(uint64_t generation) override {
    for (auto& thread : threads_) thread->ingress().GoLive(generation);
  }

  void OnDrain(std::function<void()> drained) override {
    auto left = std::make_shared<std::atomic<size_t>>(threads_.size());
    for (auto& thread : threads_) {
      thread->Drain([left, drained] {
        // acq_rel: meets itself in IngressProcess::OnDrain, run by the other lanes; the last one
        // reports.
        if (left->fetch_sub(1, std::memory_order_acq_rel) == 1) drained();
      });
    }
  }

  void OnStop() override {
    for (auto& thread : threads_) thread->Stop();
  }

 private:
  std::map<std::string, Fd> listeners_;
  std::unique_ptr<ClientRegions> regions_;  // outlives the lanes
  std::vector<std::unique_ptr<LaneThread>> threads_;
};

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  millrace::IngressProcess process;
  return millrace::RunProcess(argc, argv, millrace::Stage::kIngress, &process);
}
