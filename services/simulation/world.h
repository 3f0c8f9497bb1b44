// One seed: a whole server, its clients and its misfortunes, on one thread and a clock of its own.
//
// Purpose: build the world, let it live through load and faults, then stop the faults and see that
//   it is well again. Who may call: one thread; one world stands at a time.
// Ownership: owns everything in it. Invariants: 1. everything that happens follows from the seed.
// What fails: what the checker finds is the outcome's violation; an MR_CHECK of the product ends
// the
//   process.
#pragma once

#include <stdint.h>

#include <map>
#include <memory>
#include <string>

#include "common/config.h"
#include "services/simulation/catalogs.h"
#include "services/simulation/clients.h"
#include "services/simulation/faults.h"
#include "services/simulation/history.h"
#include "services/simulation/random.h"
#include "services/simulation/scheduler.h"
#include "services/simulation/sim_model.h"
#include "services/simulation/sim_process.h"
#include "services/simulation/sim_supervisor.h"

namespace millrace::sim {

struct Options {
  uint64_t seed = 1;
  bool trace = false;
  size_t requests = 1000;  // under faults; those of the end come on top
  size_t faults = 12;      // and up to as many more
};

struct Outcome {
  uint64_t seed = 0;
  uint64_t hash = 0;
  uint64_t events = 0;
  size_t requests = 0, answered_ok = 0, refused = 0, reset = 0, replayed = 0;
  size_t faults = 0, deaths = 0, rescues = 0;
  int64_t virtual_ns = 0;
  std::string violation;  // empty: none
};

class World : public RunHooks {
 public:
  explicit World(const Options& options);
  ~World() override;
  Outcome Run();

  Random& random() { return random_; }
  History& history() { return history_; }
  Scheduler& scheduler() { return scheduler_; }
  const Config& config() const { return config_; }
  size_t ingress_lanes() const { return ingress_lanes_; }
  Catalogs& catalogs() { return catalogs_; }
  Clients& clients() { return clients_; }
  SimSupervisor& supervisor() { return *supervisor_; }
  const SimBackend* backend() const { return &backend_; }

  void Spawn(uint32_t key, Stage stage, uint32_t index);
  SimProcess* Find(uint32_t key) const;
  SimLane* FindLane(uint32_t incarnation) const;
  const std::map<uint32_t, std::unique_ptr<SimProcess>>& processes() const { return processes_; }
  void AddLane(SimLane* lane);

  void Kill(uint32_t key, int signal);         // now
  void DieBySignal(uint32_t key, int signal);  // its handler tells the page; then it ends
  void EndLater(uint32_t key, int signal);     // by its own hand, behind what runs now
  void OnFault(const SimLane& by, uint32_t peer, const std::string& reason);
  void CountRescue() { ++rescues_; }
  // While they come; afterwards everything has to go well.
  bool faults_are_on() const { return faults_on_; }
  void set_slow_runs_until_ns(int64_t until_ns) { slow_runs_until_ns_ = until_ns; }
  void set_hang_next_run() { hang_next_run_ = true; }
  // A worker cannot take up the next catalog that one is sent.
  void set_refuse_next_catalog() { refuse_next_catalog_ = true; }
  bool TakeRefusal();
  bool a_catalog_failed() const { return a_catalog_failed_; }
  void set_running(SimLane* lane) { running_ = lane; }

  // RunHooks.
  void OnRun(size_t rows, bool poisoned) override;

 private:
  static Config MakeConfig(Random* random);
  void Live();
  void Recover();
  // Runs until `done` or the time is up; whether it came true.
  template <typename Done>
  bool RunUntil(int64_t limit_ns, Done done);
  std::string WhatIsNotSettled() const;
  // Each request that the lane's page names as being executed: (lane, id) of its ingress.
  template <typename Visit>
  static void VisitExecuting(const SimLane& lane, Visit visit);
  void CountDeath(const SimProcess& process, bool by_signal);
  void CheckExecuting();
  void CheckCounters(const SimLane& lane);
  // Its object goes: what a turn of it held is unwound, and its clients' connections are reset.
  void Remove(uint32_t key, bool orderly);

  const Options options_;
  History history_;
  Random random_;
  Scheduler scheduler_;
  const Config config_;
  const size_t ingress_lanes_;
  Catalogs catalogs_;
  SimBackend backend_;
  std::unique_ptr<SimSupervisor> supervisor_;
  std::map<uint32_t, std::unique_ptr<SimProcess>> processes_;
  std::map<uint32_t, SimLane*> lanes_;
  Clients clients_;
  Faults faults_;
  bool faults_on_ = true;
  bool hang_next_run_ = false;
  bool refuse_next_catalog_ = false;
  bool a_catalog_failed_ = false;
  int64_t slow_runs_until_ns_ = 0;
  SimLane* running_ = nullptr;  // whose turn it is
  size_t rescues_ = 0;
  size_t replayed_ = 0;
  uint64_t worker_deaths_ = 0;
};

// Builds, runs and takes down the world of a seed.
Outcome RunSeed(const Options& options);

}  // namespace millrace::sim
