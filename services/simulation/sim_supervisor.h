// The supervisor of the world: the product's Fleet, its hands, and the registry it starts.
//
// Purpose: every decision about processes is the product's; what it decides happens to the world's
//   processes, later by as much as the seed says.
// Who may call: the simulation's one thread. Ownership: owns fleet, roster and catalogs' numbers.
// Invariants: 1. what one process says is heard in its order. 2. A supervisor that is paused hears
//   nothing and decides nothing. 3. One that dies leaves what it had stored; the next one adopts
//   that, and nothing else of it. What was said and not heard yet is the next one's to hear.
//   Violations: a process that the last roster calls ready and that lives is not adopted as ready;
//   an incarnation is given out twice.
// What fails: set-up ends the process.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ipc/page.h"
#include "services/simulation/catalogs.h"
#include "services/supervisor/fleet_fake.h"
#include "services/supervisor/incarnations.h"

namespace millrace::sim {

class World;

class SimSupervisor : public FakeHands {
 public:
  explicit SimSupervisor(World* world);

  void Start();
  // A message of a process, at its time.
  void Hear(uint32_t key, int64_t when_ns, FromProcess message, std::vector<Fd> fds);
  // An event of the supervisor's loop.
  void Do(int64_t when_ns, std::function<void(Fleet&)> event);
  void PauseUntil(int64_t until_ns) { paused_until_ns_ = until_ns; }
  // What happened to a process. A clean exit's `signal` is 0.
  void Ended(uint32_t key, int64_t seen_ns, int64_t reaped_ns, int signal);
  void KillRegistry();
  // It dies once it has done so many more things to the world; the next one begins a little later.
  void DieAfter(int calls) { calls_to_death_ = calls; }
  size_t adoptions() const { return adoptions_; }
  int roster_fd() const { return roster_->fd(); }
  const Fleet& fleet() const { return *fleet_; }
  // Every process that should be there is ready and routes by the newest catalog.
  bool AllReady() const;
  uint32_t registry() const { return registry_; }

  // Hands.
  int64_t NowNs() override;
  double Random() override;
  uint32_t NewIncarnation() override;
  absl::Status Spawn(uint32_t key, Stage stage, uint32_t index, const CpuList& cpus) override;
  absl::Status Send(uint32_t key, const ToProcess& message, const FdList& fds) override;
  void Signal(uint32_t key, int signal) override;
  bool IsStopped(uint32_t key) override;
  absl::Status OpenPages(uint32_t key, const std::vector<LanePage>& pages) override;
  std::optional<PageLook> Look(uint32_t incarnation) override;
  void Forget(uint32_t key) override;
  void PublishRoster(absl::Span<const RosterEntry> lanes, const FdList& wakes) override;
  std::optional<LoadLook> SampleLoad() override { return std::nullopt; }
  void Store(const std::vector<std::pair<std::string, SharedFd>>& fds) override;
  void StoreState(const std::string& bytes) override;
  void DropStored(const std::string& prefix) override;
  absl::Status Adopt(uint32_t key) override;

  // A start fails, as fork or exec can: so many of the next ones.
  void FailSpawns(int count) { failing_spawns_ = count; }

 private:
  void RunEvents();
  void TickLater();
  FleetSetup SetUp() const;
  // Where it acts on the world: there it may die.
  void Act();
  void Die();
  void Succeed();
  void CheckAdopted() const;
  bool Knows(uint32_t key) const { return fleet_->processes().count(key) > 0; }
  void ToRegistry(const ToProcess& message);
  void PublishCatalog();
  void PublishAgain();
  void Say(const Catalogs::Published& published);

  World* const world_;
  std::optional<RosterWriter> roster_;
  std::vector<RosterEntry> last_roster_;   // as published by whoever published last
  std::vector<RosterEntry> fleet_roster_;  // by this one
  std::unique_ptr<Fleet> fleet_;  // of a supervisor that died: until the next one takes over
  std::deque<std::function<void(Fleet&)>> events_;
  std::map<uint32_t, std::pair<uint32_t, Region>> pages_;  // by incarnation: key, page
  int64_t paused_until_ns_ = 0;
  bool running_events_ = false;
  int calls_to_death_ = 0;  // 0: it does not die
  bool dead_ = false;
  size_t adoptions_ = 0;
  std::optional<Incarnations> incarnations_;
  std::set<uint32_t> given_;   // every incarnation
  std::set<uint32_t> stored_;  // processes whose channel and pidfd are with the keeper
  uint32_t registry_ = 0;      // key; 0: none runs
  uint64_t next_generation_ = 1;
  uint32_t next_route_ = 1;
  int failing_spawns_ = 0;
};

}  // namespace millrace::sim
