#include "services/simulation/world.h"

#include <signal.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "services/simulation/doorbells.h"
#include "services/simulation/virtual_time.h"

namespace millrace::sim {
namespace {

constexpr int64_t kBeginNs = kNanosPerSecond;
constexpr int64_t kForeverNs = int64_t{1} << 60;
constexpr int64_t kStartLimitNs = 10 * kNanosPerSecond;
constexpr int64_t kLoadLimitNs = 60 * kNanosPerSecond;
// The longest back-off, a hang and its kill, and a restart.
constexpr int64_t kRecoverLimitNs = 30 * kNanosPerSecond;
constexpr int64_t kAnswerLimitNs = 2 * kNanosPerSecond;
constexpr size_t kMostRescues = 5;
constexpr size_t kUnits = 64;  // kWindowUnits
constexpr uint64_t kMostEvents = 20'000'000;

}  // namespace

World::World(const Options& options)
    : options_(options),
      history_(options.trace),
      random_(options.seed),
      scheduler_(&random_),
      config_(MakeConfig(&random_)),
      ingress_lanes_(1 + random_.Below(2)),
      backend_(this),
      clients_(this),
      faults_(this) {
  VirtualTime::Set(kBeginNs);
  Doorbells::Open([this](uint32_t incarnation) {
    if (SimLane* lane = FindLane(incarnation)) lane->Rung();
    if (Fiber::InTurn() && faults_on_ && random_.OneIn(30)) {
      Fiber::Suspend(random_.Between(500, 40'000));
    }
  });
  supervisor_ = std::make_unique<SimSupervisor>(this);
}

World::~World() {
  processes_.clear();
  Doorbells::Close();
  VirtualTime::End();
}

Config World::MakeConfig(Random* random) {
  Config config;
  config.device = "cpu";
  config.wait = "yield";
  config.max_request_bytes = 4096;
  config.max_in_flight = 256;
  config.default_deadline_ms = 5'000;
  config.max_batch_rows = random->OneIn(2) ? random->Between(4, 16) : random->Between(16, 256);
  config.ingress_workers = random->Between(1, 2);
  config.features_workers = random->Between(1, 2);
  config.execution_workers = random->Between(1, 3);
  config.aggregation_workers = random->Between(1, 2);
  return config;
}

void World::Spawn(uint32_t key, Stage stage, uint32_t index) {
  processes_[key] = std::make_unique<SimProcess>(this, key, stage, index);
}

SimProcess* World::Find(uint32_t key) const {
  const auto found = processes_.find(key);
  return found == processes_.end() ? nullptr : found->second.get();
}

SimLane* World::FindLane(uint32_t incarnation) const {
  const auto found = lanes_.find(incarnation);
  return found == lanes_.end() ? nullptr : found->second;
}

void World::AddLane(SimLane* lane) { lanes_[lane->incarnation()] = lane; }

void World::Remove(uint32_t key, bool orderly) {
  const std::unique_ptr<SimProcess> process = std::move(processes_.at(key));
  processes_.erase(key);
  std::vector<uint32_t> gone;
  for (const auto& lane : process->lanes()) {
    CheckCounters(*lane);
    replayed_ += lane->lane().page().Get(Counter::kReplayed);
    lanes_.erase(lane->incarnation());
    gone.push_back(lane->incarnation());
  }
  if (process->stage() != Stage::kIngress) return;
  for (uint32_t lane : gone) clients_.OnLaneGone(lane, orderly);
}

void World::Kill(uint32_t key, int signal) {
  SimProcess* process = Find(key);
  if (process == nullptr || process->dying()) return;  // its end is on its way
  CountDeath(*process, false);
  const int64_t now_ns = VirtualTime::now_ns();
  const int64_t seen_ns = now_ns + random_.Between(50'000, 300'000);
  Remove(key, false);
  supervisor_->Ended(key, seen_ns, seen_ns + random_.Between(100'000, 40 * kNanosPerMilli), signal);
}

void World::DieBySignal(uint32_t key, int signal) {
  SimProcess* process = Find(key);
  if (process == nullptr || process->dying()) return;
  history_.Note("dying", key, static_cast<uint64_t>(signal));
  CountDeath(*process, true);
  process->set_dying();
  process->set_paused_until_ns(kForeverNs);
  for (const auto& lane : process->lanes()) {
    // relaxed: one thread reads and writes all pages of a world.
    lane->lane().page().state.store(static_cast<uint32_t>(LaneState::kDying),
                                    std::memory_order_relaxed);
  }
  const int64_t now_ns = VirtualTime::now_ns();
  const int64_t seen_ns = now_ns + random_.Between(20'000, 300'000);
  const int64_t ends_ns = seen_ns + random_.Between(kNanosPerMilli, 80 * kNanosPerMilli);
  scheduler_.At(ends_ns, [this, key] { Remove(key, false); });
  supervisor_->Ended(key, seen_ns, ends_ns + 100'000, signal);
}

void World::EndLater(uint32_t key, int signal) {
  scheduler_.At(VirtualTime::now_ns(), [this, key, signal] {
    if (Find(key) == nullptr) return;
    Remove(key, true);
    supervisor_->Ended(key, 0, VirtualTime::now_ns() + 500'000, signal);
  });
}

void World::OnFault(const SimLane& by, uint32_t peer, const std::string& reason) {
  history_.Violate(absl::StrCat("lane ", by.incarnation(), " accuses lane ", peer, ": ", reason));
}

template <typename Visit>
void World::VisitExecuting(const SimLane& lane, Visit visit) {
  const Page& page = lane.page();
  // relaxed: one thread reads and writes all pages of a world.
  const uint32_t count = page.executing_count.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < count; ++i) {
    // relaxed: as above.
    const uint32_t origin = page.executing_origin[i].load(std::memory_order_relaxed);
    // relaxed: as above.
    const PartId id = PartId::Unpack(page.executing_id[i].load(std::memory_order_relaxed));
    visit(origin, uint64_t{id.sequence} << 16 | id.slot);
  }
}

void World::CountDeath(const SimProcess& process, bool by_signal) {
  if (process.stage() == Stage::kIngress) return;
  ++worker_deaths_;
  for (const auto& lane : process.lanes()) {
    VisitExecuting(
        *lane, [&](uint32_t origin, RequestId id) { clients_.CountDeath(origin, id, by_signal); });
  }
}

void World::CheckExecuting() {
  bool any = false;
  VisitExecuting(*running_, [&](uint32_t origin, RequestId id) {
    any = true;
    clients_.CheckRun(origin, id);
  });
  if (!any) history_.Violate("a batch is run of which the page names nothing");
}

void World::OnRun(size_t rows, bool poisoned) {
  CheckExecuting();
  if (poisoned) {
    DieBySignal(running_->process().key(), SIGSEGV);
    Fiber::Suspend(kForeverNs);
  }
  int64_t run_ns = random_.Between(3'000, 60'000) + 1'000 * static_cast<int64_t>(rows);
  if (random_.OneIn(200)) run_ns += random_.Between(0, 10 * kNanosPerMilli);
  if (VirtualTime::now_ns() < slow_runs_until_ns_) run_ns *= 100;
  if (hang_next_run_) run_ns = 20 * kNanosPerSecond;
  hang_next_run_ = false;
  Fiber::Suspend(run_ns);
}

bool World::TakeRefusal() {
  if (!refuse_next_catalog_) return false;
  refuse_next_catalog_ = false;
  a_catalog_failed_ = true;
  return true;
}

void World::CheckCounters(const SimLane& lane) {
  const uint64_t faults = lane.page().Get(Counter::kFaults);
  if (faults == 0) return;
  history_.Violate(
      absl::StrCat("lane ", lane.incarnation(), " counts ", faults, " faults of honest peers"));
}

template <typename Done>
bool World::RunUntil(int64_t limit_ns, Done done) {
  const int64_t until_ns = VirtualTime::now_ns() + limit_ns;
  for (uint64_t looked = 0;; ++looked) {
    if (history_.violated()) return false;
    // Not after each event: the look costs more than most of them.
    if (looked % 64 == 0 && done()) return true;
    if (VirtualTime::now_ns() > until_ns || history_.events() > kMostEvents) return done();
    MR_CHECK(scheduler_.RunNext(), "a world always has something to do");
  }
}

std::string World::WhatIsNotSettled() const {
  if (!supervisor_->AllReady()) return "not every process is ready";
  if (clients_.outstanding() > 0) {
    return absl::StrCat(clients_.outstanding(), " requests are not answered");
  }
  for (const auto& [incarnation, lane] : lanes_) {
    const Page& page = lane->page();
    // relaxed: one thread reads and writes all pages of a world.
    const uint64_t routes_by = page.catalog_generation.load(std::memory_order_relaxed);
    if (lane->ingress() != nullptr && routes_by != supervisor_->fleet().live_generation()) {
      return absl::StrCat("lane ", incarnation, " routes by catalog ", routes_by);
    }
    if (lane->Quiet()) continue;
    return absl::StrCat("lane ", incarnation,
                        " still holds something: ", page.Get(Counter::kBlocksTaken), " blocks, ",
                        page.Get(Counter::kLimbo), " uses in limbo, ", page.Get(Counter::kInFlight),
                        " requests");
  }
  return "";
}

void World::Live() {
  supervisor_->Start();
  if (!RunUntil(kStartLimitNs, [&] { return supervisor_->AllReady(); })) {
    return history_.Violate("the server does not start: " + WhatIsNotSettled());
  }
  history_.Note("started");
  const size_t faults = options_.faults + random_.Below(options_.faults + 1);
  // As long as the load takes.
  faults_.Plan(faults, static_cast<int64_t>(options_.requests) * 300'000);
  clients_.Begin(options_.requests);
  if (!RunUntil(kLoadLimitNs, [&] { return clients_.done() && faults_.left() == 0; })) {
    history_.Violate("the load does not end");
  }
}

void World::Recover() {
  faults_.Stop();
  faults_on_ = hang_next_run_ = refuse_next_catalog_ = false;
  history_.Note("faults end");
  if (!RunUntil(kRecoverLimitNs, [&] { return WhatIsNotSettled().empty(); })) {
    return history_.Violate("after the faults: " + WhatIsNotSettled());
  }
  history_.Note("settled");
  size_t count[kStageCount] = {};
  for (const auto& [key, process] : processes_) ++count[static_cast<size_t>(process->stage())];
  const size_t features = count[static_cast<size_t>(Stage::kFeatures)];
  const size_t execution = count[static_cast<size_t>(Stage::kExecution)];
  const size_t aggregation = count[static_cast<size_t>(Stage::kAggregation)];
  std::vector<SimLane*> ingress;
  for (const auto& [incarnation, lane] : lanes_) {
    if (lane->ingress() != nullptr) ingress.push_back(lane);
  }
  for (SimLane* lane : ingress) {
    const std::pair<size_t, size_t> fills[] = {
        {Clients::kOfPlain, kUnits * execution},
        {Clients::kOfRaw, kUnits * std::min(features, execution)},
        {Clients::kOfEnsemble, kUnits / 2 * std::min({2 * features, execution, aggregation})}};
    for (const auto& [kind, requests] : fills) {
      clients_.FillWindows(lane, kind, requests);
      if (!RunUntil(kAnswerLimitNs,
                    [&] { return clients_.filled() && WhatIsNotSettled().empty(); })) {
        return history_.Violate("windows were filled after the faults: " + WhatIsNotSettled());
      }
    }
  }
  for (const auto& [incarnation, lane] : lanes_) {
    CheckCounters(*lane);
    replayed_ += lane->page().Get(Counter::kReplayed);
  }
}

Outcome World::Run() {
  Live();
  if (!history_.violated()) Recover();
  // One now and then is a lane that was stopped or killed between publishing and ringing.
  if (rescues_ > kMostRescues) {
    history_.Violate(absl::StrCat(rescues_, " times a lane slept while something was there"));
  }
  Outcome outcome;
  outcome.seed = options_.seed;
  outcome.hash = history_.hash();
  outcome.events = history_.events();
  outcome.requests = clients_.all();
  outcome.answered_ok = clients_.ok();
  outcome.refused = clients_.refused();
  outcome.reset = clients_.reset();
  outcome.replayed = replayed_;
  outcome.faults = faults_.done();
  outcome.deaths = worker_deaths_;
  outcome.rescues = rescues_;
  outcome.virtual_ns = VirtualTime::now_ns() - kBeginNs;
  outcome.violation = history_.violation();
  return outcome;
}

Outcome RunSeed(const Options& options) {
  World world(options);
  return world.Run();
}

}  // namespace millrace::sim
