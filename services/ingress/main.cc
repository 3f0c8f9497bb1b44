// The ingress process: see README.md beside this file.
#include <malloc.h>

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "services/ingress/incidents.h"
#include "services/ingress/lane_thread.h"
#include "services/ingress/routes/routing_table.h"
#include "services/ingress/waiting.h"
#include "services/runtime/process.h"
#include "services/runtime/stacks.h"

namespace millrace {
namespace {

// What a request frees the next one needs: glibc would give each thread's free memory beyond 128
// KiB back to the kernel and fault it in again, several times a millisecond (4 % of this process's
// time). Naming one threshold ends the other's adaptation, hence both.
void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
}

// Lanes are numbered as in the supervisor's table.
constexpr std::array<const char*, 3> kListenerOfLane = {"grpc", "http", "local"};
constexpr std::array kServerOfLane = {MakeGrpcServer, MakeHttpServer, MakeLocalServer};

// What clients asked for and the supervisor has not answered.
class Changes {
 public:
  void Start(std::function<void(FromProcess)> tell) { tell_ = std::move(tell); }

  void Ask(const ModelChange& change, ChangeDone done) {
    FromProcess message;
    millrace::ChangeModel* asked = message.mutable_change_model();
    asked->set_request(models_.Add(std::move(done)));
    asked->set_load(change.kind == ModelChange::Kind::kLoad);
    asked->set_model(change.model);
    asked->set_unload_dependents(change.unload_dependents);
    tell_(std::move(message));
  }

  void Ask(RoutesQuestion question, RoutesDone done) {
    FromProcess message;
    ChangeRoutes* asked = message.mutable_change_routes();
    asked->set_request(routes_.Add(std::move(done)));
    asked->set_command_json(std::move(question.command_json));
    asked->set_who(std::move(question.who));
    tell_(std::move(message));
  }

  void Answer(const ModelChanged& changed) {
    const auto done = models_.Take(changed.request());
    if (!done.has_value()) return;
    (*done)(absl::Status(static_cast<absl::StatusCode>(changed.code()), changed.message()));
  }

  void Answer(const RoutesChanged& changed) {
    const auto done = routes_.Take(changed.request());
    if (!done.has_value()) return;
    const auto code = static_cast<absl::StatusCode>(changed.code());
    (*done)({absl::Status(code, changed.message()), changed.message(), changed.reply_json()});
  }

 private:
  std::function<void(FromProcess)> tell_;
  Waiting<ChangeDone> models_;
  Waiting<RoutesDone> routes_;
};

class IngressProcess : public StageProcess {
 public:
  absl::Status OnStart(Start start) override {
    listeners_ = std::move(start.listeners);
    move_ns_ = start.config.drain_ms * kNanosPerMilli / 4 * 3;
    ClientRegionsOptions options;
    options.allowed = start.config.allow_client_shm == "true";
    options.prefixes = SplitPrefixes(start.config.client_shm_prefix);
    options.max_request_bytes = start.config.max_request_bytes;
    regions_ = std::make_unique<ClientRegions>(options);
    absl::StatusOr<std::shared_ptr<Keys>> keys =
        Keys::Open(start.config.keys_file, start.config.allow_anonymous == "true");
    if (!keys.ok()) return keys.status();
    keys_ = *std::move(keys);
    // Here, where a fault ends the start with a sentence: gRPC says nothing of files that it cannot
    // use, and then refuses everyone.
    if (absl::Status status = CheckTls(start.config); !status.ok()) return status;
    const auto tell = start.tell;
    changes_.Start(std::move(start.tell));
    IngressShared shared;
    shared.statistics = &statistics_;
    shared.change_model = [this](const ModelChange& change, ChangeDone done) {
      changes_.Ask(change, std::move(done));
    };
    shared.ask_routes = [this](RoutesQuestion question, RoutesDone done) {
      changes_.Ask(std::move(question), std::move(done));
    };
    shared.poisoned = [tell](const PoisonRecord& record) { tell(ToMessage(record)); };
    shared.breaker_changed = [tell](const Lane& lane, const BreakerChange& change) {
      tell(ToMessage(lane.id().incarnation, change));
    };
    for (size_t i = 0; i < start.lanes.size(); ++i) {
      Lane* lane = start.lanes[i];
      auto thread = std::make_unique<LaneThread>(lane, start.ledgers.at(i), start.config, shared);
      const size_t number = lane->id().lane;
      if (number >= kListenerOfLane.size()) return absl::InternalError("a lane of no known number");
      auto listener = listeners_.find(kListenerOfLane[number]);
      if (listener == listeners_.end()) return absl::InternalError("a lane without its listener");
      thread->Start(
          [this, make = kServerOfLane[number], name = kListenerOfLane[number], lane,
           ingress = &thread->ingress(), config = start.config, socket = listener->second.get()] {
            KnowThread(name);
            return make({ingress, lane->wake_fd(), config, socket, regions_.get(), keys_});
          },
          start.hold);
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

  void OnRoutes(std::shared_ptr<const Routes> routes, std::function<void()> taken) override {
    const std::shared_ptr<const RoutingTable> table = RoutingTable::Make(*routes);
    const auto one = OneOfAll(std::move(taken));
    for (auto& thread : threads_) thread->ingress().SetRoutes(table, one);
  }

  void OnModelChanged(const ModelChanged& changed) override { changes_.Answer(changed); }
  void OnRoutesChanged(const RoutesChanged& changed) override { changes_.Answer(changed); }

  void OnStageBreaker(const StageBreakerChanged& changed) override {
    if (changed.stage() >= kStageCount || changed.state() > 2) return;
    for (auto& thread : threads_) {
      thread->ingress().SetStageBreaker(static_cast<Stage>(changed.stage()),
                                        static_cast<BreakerState>(changed.state()));
    }
  }

  void OnDrain(std::function<void()> drained) override {
    const auto one = OneOfAll(std::move(drained));
    for (auto& thread : threads_) thread->Drain(one);
  }

  void OnMove(std::function<void()> drained) override {
    const int64_t until_ns = MonotonicNanos() + move_ns_;
    const auto one = OneOfAll(std::move(drained));
    for (auto& thread : threads_) thread->Move(until_ns, one);
  }

  void OnOpen() override {
    for (auto& thread : threads_) thread->Open();
  }

  void OnStop() override {
    for (auto& thread : threads_) thread->Stop();
  }

 private:
  // To be called by each lane's thread; the last one calls `all`.
  std::function<void()> OneOfAll(std::function<void()> all) {
    auto left = std::make_shared<std::atomic<size_t>>(threads_.size());
    return [left, all = std::move(all)] {
      // acq_rel: meets itself in IngressProcess::OneOfAll, run by the other lanes.
      if (left->fetch_sub(1, std::memory_order_acq_rel) == 1) all();
    };
  }

  // Of the drain's limit: the rest is for requests of those who did not move.
  int64_t move_ns_ = 0;
  std::map<std::string, Fd> listeners_;
  std::unique_ptr<ClientRegions> regions_;  // outlives the lanes
  std::shared_ptr<Keys> keys_;
  StatisticsBook statistics_;  // outlives the lanes
  Changes changes_;
  std::vector<std::unique_ptr<LaneThread>> threads_;
};

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  millrace::KeepFreedMemory();
  millrace::IngressProcess process;
  return millrace::RunProcess(argc, argv, millrace::Stage::kIngress, &process);
}
