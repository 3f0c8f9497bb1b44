#include "services/simulation/faults.h"

#include <signal.h>

#include <vector>

#include "common/clock.h"
#include "services/simulation/virtual_time.h"
#include "services/simulation/world.h"

namespace millrace::sim {
namespace {

constexpr Stage kWorkerStages[] = {Stage::kFeatures, Stage::kExecution, Stage::kAggregation};
constexpr int64_t kWaves = 10;
constexpr size_t kWave = 70;
constexpr int64_t kMostProcesses = 3;  // of a stage: what the windows' fill at the end is for

SimProcess* AnyOf(World* world, bool ingress, bool workers) {
  std::vector<SimProcess*> there;
  for (const auto& [key, process] : world->processes()) {
    const bool is_ingress = process->stage() == Stage::kIngress;
    if ((is_ingress ? ingress : workers) && !process->dying()) there.push_back(process.get());
  }
  return there.empty() ? nullptr : there[world->random().Below(there.size())];
}

}  // namespace

void Faults::Plan(size_t count, int64_t span_ns) {
  left_ = count;
  for (size_t i = 0; i < count; ++i) {
    world_->scheduler().In(world_->random().Between(0, span_ns), [this] {
      --left_;
      if (!stopped_) Strike();
    });
  }
}

void Faults::Stop() {
  stopped_ = true;
  for (const auto& [key, process] : world_->processes()) {
    if (!process->dying()) process->set_paused_until_ns(0);
    for (const auto& lane : process->lanes()) lane->set_slowness(1);
  }
  world_->supervisor().PauseUntil(0);
  world_->supervisor().FailSpawns(0);
}

SimProcess* Faults::AnyWorker() { return AnyOf(world_, false, true); }
SimProcess* Faults::AnyIngress() { return AnyOf(world_, true, false); }
SimProcess* Faults::Any() { return AnyOf(world_, true, true); }

void Faults::Pause(SimProcess* process) {
  Random& random = world_->random();
  // Now and then longer than the supervisor takes for alive.
  const int64_t most_ns = random.OneIn(8) ? 2 * kNanosPerSecond : 200 * kNanosPerMilli;
  process->set_paused_until_ns(VirtualTime::now_ns() + random.Between(kNanosPerMilli, most_ns));
}

void Faults::Slow(SimProcess* process) {
  for (const auto& lane : process->lanes()) lane->set_slowness(world_->random().Between(5, 100));
}

void Faults::Scale() {
  constexpr Stage kStages[] = {Stage::kIngress, Stage::kFeatures, Stage::kExecution,
                               Stage::kAggregation};
  const Stage stage = kStages[world_->random().Below(4)];
  const int64_t most = stage == Stage::kIngress ? 2 : kMostProcesses;
  const int64_t count = world_->random().Between(1, most);
  world_->history().Note("fault: scale", static_cast<uint64_t>(stage), count);
  world_->supervisor().Do(VirtualTime::now_ns(), [stage, count](Fleet& fleet) {
    (void)fleet.Scale(stage, count);  // refused where one of them is still leaving
  });
}

// Waves of requests that are soon given up, into one lane, while a stage stands still or models are
// slow: units must not come back before the workers have let go.
void Faults::Rush() {
  Random& random = world_->random();
  SimLane* lane = world_->clients().ChooseLane();
  if (lane == nullptr) return;
  const Stage stage = kWorkerStages[random.Below(3)];
  const bool stands = random.OneIn(2);
  const int64_t wave_ns = (stands ? 5 : 12) * kNanosPerMilli;
  const int64_t until_ns = VirtualTime::now_ns() + kWaves * wave_ns;
  world_->history().Note("fault: rush", lane->incarnation(), static_cast<uint64_t>(stage), stands);
  if (!stands) world_->set_slow_runs_until_ns(until_ns);
  for (const auto& [key, process] : world_->processes()) {
    if (stands && process->stage() == stage && !process->dying()) {
      process->set_paused_until_ns(until_ns);
    }
  }
  for (int64_t wave = 0; wave < kWaves; ++wave) {
    world_->scheduler().In(wave * wave_ns, [this, incarnation = lane->incarnation()] {
      SimLane* target = world_->FindLane(incarnation);
      // One that drains takes no new connections.
      if (target == nullptr || stopped_ || target->process().leaving()) return;
      world_->clients().Burst(target, kWave, true);
    });
  }
}

// One, or some in a row, of which the first may fail.
void Faults::Reload() {
  Random& random = world_->random();
  const bool fails = random.OneIn(3);
  world_->history().Note("fault: reload", fails);
  if (fails) world_->set_refuse_next_catalog();
  const int64_t reloads = random.OneIn(2) ? random.Between(2, 4) : 1;
  for (int64_t i = 0; i < reloads; ++i) {
    world_->supervisor().Do(VirtualTime::now_ns() + i * random.Between(0, 8 * kNanosPerMilli),
                            [](Fleet& fleet) { fleet.Reload(); });
  }
}

void Faults::Strike() {
  ++done_;
  Random& random = world_->random();
  History& history = world_->history();
  const uint64_t kind = random.Below(21);
  SimProcess* worker = AnyWorker();
  if (kind < 5 && worker != nullptr) {
    history.Note("fault: kill", worker->key());
    world_->Kill(worker->key(), SIGKILL);
  } else if (kind < 6 && worker != nullptr) {
    history.Note("fault: signal", worker->key());
    world_->DieBySignal(worker->key(), SIGSEGV);
  } else if (kind < 7 && AnyIngress() != nullptr) {
    const uint32_t key = AnyIngress()->key();
    history.Note("fault: kill", key);
    world_->Kill(key, SIGKILL);
  } else if (kind < 9 && Any() != nullptr) {
    SimProcess* process = Any();
    history.Note("fault: pause", process->key());
    Pause(process);
  } else if (kind < 10 && Any() != nullptr) {
    SimProcess* process = Any();
    history.Note("fault: slow", process->key());
    Slow(process);
  } else if (kind < 12) {
    Scale();
  } else if (kind < 13) {
    Reload();
  } else if (kind < 14) {
    history.Note("fault: registry");
    world_->supervisor().KillRegistry();
  } else if (kind < 15) {
    history.Note("fault: wall clock");
    VirtualTime::StepWall(random.Between(-3600, 3600) * kNanosPerSecond);
  } else if (kind < 16) {
    history.Note("fault: burst");
    SimLane* lane = world_->clients().ChooseLane();
    if (lane != nullptr) {
      world_->clients().Burst(lane, static_cast<size_t>(random.Between(50, 300)), false);
    }
  } else if (kind < 17) {
    history.Note("fault: supervisor");
    world_->supervisor().PauseUntil(VirtualTime::now_ns() +
                                    random.Between(kNanosPerMilli, 150 * kNanosPerMilli));
  } else if (kind < 18) {
    history.Note("fault: spawn");
    world_->supervisor().FailSpawns(static_cast<int>(random.Between(1, 3)));
  } else if (kind < 19) {
    history.Note("fault: hang");
    world_->set_hang_next_run();
  } else if (kind < 20) {
    Rush();
  } else {
    const Stage stage = kWorkerStages[random.Below(3)];
    history.Note("fault: kill all", static_cast<uint64_t>(stage));
    std::vector<uint32_t> keys;
    for (const auto& [key, process] : world_->processes()) {
      if (process->stage() == stage) keys.push_back(key);
    }
    for (uint32_t key : keys) world_->Kill(key, SIGKILL);
  }
}

}  // namespace millrace::sim
