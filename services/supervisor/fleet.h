// The fleet: every process of the server, and every decision about it.
//
// Purpose: start, introduce, watch, restart, scale and stop the processes. It sees the world as
//   events and acts through Hands; it does no I/O of its own and keeps no time of its own.
// Who may call: the supervisor's main thread.
// Ownership: holds the descriptors of each lane's memory until its process was reaped.
// Invariants:
//   1. The roster follows from the processes' states and the wait policy alone, and is published
//   before anything else
//      that follows from an event: a death reroutes first.
//   2. At most one process of a slot (stage, index) is alive and not dying.
//   3. An incarnation is given out once. A process is told of a peer at most once, and of its end
//      exactly once, after it was reaped.
//   4. What a process says is untrusted: what does not fit its state ends that process alone.
//   5. A catalog is given out, and a change of models handed to the registry, when the one before
//      is live and no request in flight began before it (workers keep two), or when it has failed.
//      A change is answered when its catalog is live everywhere, or at its limit.
//   6. What the next supervisor would take for more than it is, is stored before it is true: READY,
//      LEAVING, the order to end, that one was given up. A death is told by the roster first and
//      stored after: the next supervisor sees it too.
//   7. A spare (IsSpare) stands in the roster as STARTING: no route names it. It is promoted, and
//      READY, by the same roster that no longer names the dead.
// What fails: Scale, with a sentence. Everything else is handled here.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/config.h"
#include "ipc/model_debt.h"
#include "services/supervisor/catalog_desk.h"
#include "services/supervisor/fleet_process.h"
#include "services/supervisor/fleet_state.pb.h"
#include "services/supervisor/hands.h"
#include "services/supervisor/idle_watch.h"
#include "services/supervisor/incident_desk.h"
#include "services/supervisor/lifecycle.h"
#include "services/supervisor/link_book.h"
#include "services/supervisor/profile_desk.h"
#include "services/supervisor/routes_broker.h"
#include "services/supervisor/scale_governor.h"
#include "services/supervisor/stage_storms.h"
#include "services/supervisor/stats_carry.h"
#include "services/supervisor/version_watch.h"
#include "services/supervisor/wait_policy.h"

namespace millrace {

struct FleetSetup {
  Config config;
  std::string config_yaml;  // sent to every process
  SharedFd roster;
  std::vector<std::pair<uint32_t, SharedFd>> listeners;  // by lane of ingress (kListenerNames)
  bool observer = false;                                 // whether there is one
  CpuList cpus;                                          // that the server may use
  double cores = 1;  // as many as it may keep busy: those, or its quota
  // Ingress accepts nobody before Open: another pipeline serves.
  bool hold = false;
  LogFd own_log;                      // the supervisor's
  std::vector<std::string> unloaded;  // models that stay out until they are loaded
};

// Of models: in each execution worker, and in the one that has most of the device. Budget 0: none.
struct ModelMemory {
  uint64_t bytes = 0, budget_bytes = 0;
  uint64_t device_bytes = 0, device_budget_bytes = 0;
  uint32_t evicted = 0;  // versions
};

using SlotName = std::pair<Stage, uint32_t>;

enum class FleetPhase { kRunning, kDraining, kStopping, kDone };

// How a process ended: an exit code, or the signal that killed it.
struct ProcessEnd {
  int exit_code = 0;
  int signal = 0;
};

class Fleet {
 public:
  // How often Tick is called; silences and time limits are as fine as this.
  static constexpr int64_t kTickNs = 50 * kNanosPerMilli;
  static constexpr int64_t kCatalogLimitNs = 60 * kNanosPerSecond;  // to take one up
  static constexpr int64_t kStopLimitNs = 2 * kNanosPerSecond;      // from Stop to the end
  static constexpr int kTicksALoad = 5;  // between two looks at the machine's load

  Fleet(Hands* hands, FleetSetup setup);

  void Start();
  // Instead of Start: goes on with what an earlier supervisor left (FleetState). A process whose
  // state cannot be trusted is ended and started anew, alone.
  void Adopt(const FleetState& state);
  void OnMessage(uint32_t key, const FromProcess& message, std::vector<Fd> fds);
  void OnDeath(uint32_t key, int64_t seen_ns);      // dead or dying, seen before its end
  void OnEnd(uint32_t key, const ProcessEnd& end);  // reaped
  void OnBrokenChannel(uint32_t key, const std::string& why);
  void Tick();

  // What stands behind every model.
  Behind behind() const;

  // By hand: the stage's policy, if it has one, rests until ScaleByPolicy.
  absl::Status Scale(Stage stage, int64_t count);
  absl::Status ScaleByPolicy(Stage stage);
  bool HasPolicy(Stage stage) const { return scaling_.count(stage) > 0; }
  bool IsPinned(Stage stage) const { return HasPolicy(stage) && scaling_.at(stage).pinned; }
  void Stop();     // drain, then end in reverse order of the start
  void StopNow();  // without draining
  // As Stop, while another pipeline serves: clients are told to move there (fleet_handover.cc).
  void HandOver();
  // Ingress accepts clients from now on.
  void Open();
  void Reload();  // asks the registry to read the repository again
  // Loads or unloads a model; asked again with the same `request` until it has an outcome, which is
  // then forgotten. OK: live in every process.
  std::optional<absl::Status> ChangeForAdmin(const ChangeModel& change);
  // A Profile (common/profile.proto) of what a process does for so long, or has in its heap. As
  // ChangeForAdmin: nothing means not yet, ask again with the same number.
  std::optional<absl::StatusOr<std::string>> ProfileForAdmin(uint64_t request, Stage stage,
                                                             uint32_t index, TakeProfile::Kind kind,
                                                             int64_t duration_ms);

  // As ChangeForAdmin, of routes and rollouts.
  std::optional<RoutesChanged> RoutesForAdmin(const ChangeRoutes& change);
  // Whether somebody at the admin socket may have an answer now; asked once.
  bool TakeNewsForAdmin() { return std::exchange(news_for_admin_, false); }
  const RoutesBroker& routes() const { return routes_; }

  ModelMemory memory() const;

  // For the registry's rollouts.
  size_t watched_versions() const { return watch_.size(); }

  FleetPhase phase() const { return phase_; }
  int exit_code() const { return exit_code_; }  // once kDone
  bool Ready() const;  // every stage has a ready process, and a catalog is live
  const std::map<uint32_t, FleetProcess>& processes() const { return processes_; }
  const std::map<SlotName, FleetSlot>& slots() const { return slots_; }
  const CatalogDesk& catalog() const { return desk_; }
  ProfileDesk profiles_;
  const IncidentDesk& incidents() const { return incidents_; }
  const StageStorms& storms() const { return storms_; }
  WaitMode WaitOf(Stage stage) const { return wait_.modes()[static_cast<size_t>(stage)]; }
  const std::optional<LoadLook>& load_sample() const { return load_; }  // as last seen
  uint64_t live_generation() const { return live_generation_; }
  int64_t last_death_at_ns() const { return last_death_at_ns_; }  // when it was seen
  int64_t last_reroute_ns() const { return last_reroute_ns_; }    // -1: nothing died yet
  uint64_t deaths() const { return deaths_; }
  uint64_t faults() const { return faults_; }
  uint64_t hangs() const { return hangs_; }
  uint64_t promotions() const { return promotions_; }  // of spares

 private:
  // fleet.cc: what follows from the states.
  void Settle();
  void PublishRoster();
  bool BecomeReady();  // whether one did
  void GoLive();
  bool StartDue();
  void StartProcess(const SlotName& name, FleetSlot* slot);
  bool GroupMayStart(int group) const;
  void Configure(FleetProcess* process);
  void Send(FleetProcess* process, const ToProcess& message, const FdList& fds = {});
  void SendCatalog(FleetProcess* process, const CatalogDesk::Kept& catalog);
  void Move(FleetProcess* process, ProcessState state);
  FleetProcess* Find(uint32_t key);
  FleetSlot* SlotOf(const FleetProcess& process);
  std::vector<uint32_t> LanesOf(Stage stage) const;

  // fleet_messages.cc
  void OnAnnounce(FleetProcess* process, const Announce& announce, std::vector<Fd> fds);
  void Introduce(FleetProcess* process);
  void SendPeer(FleetProcess* to, const FleetProcess& of, const FleetLane& lane);
  void OnHalf(FleetProcess* process, const Half& half, std::vector<Fd> fds);
  void OnCatalogReady(FleetProcess* process, const CatalogReady& ready);
  void OnPublishCatalog(FleetProcess* process, const PublishCatalog& publish, std::vector<Fd> fds);
  void OnFault(FleetProcess* process, const Fault& fault);
  void OnDeviceReport(FleetProcess* process, const DeviceReport& report);
  void OnKernelChoice(FleetProcess* process, const KernelChoice& choice);

  // fleet_changes.cc
  struct Change {
    uint32_t asker = 0;  // key of an ingress process; 0: the admin socket
    ChangeModel change;  // with the asker's number
    int64_t asked_ns = 0;
    uint32_t registry = 0;    // key of the process that was told; 0: none yet
    uint64_t number = 0;      // ours, in that message
    uint64_t generation = 0;  // with the change; 0: not published
    std::optional<absl::Status> outcome;
  };
  void AskChange(uint32_t asker, const ChangeModel& change);
  void OnProfileTaken(FleetProcess* process, const ProfileTaken& taken, const std::vector<Fd>& fds);
  void OnChangeModel(FleetProcess* process, const ChangeModel& change);
  void OnModelChanged(FleetProcess* process, const ModelChanged& changed);
  bool Settled() const;
  bool CatalogMayFollow() const;
  bool TakeCatalog();  // whether one was given out
  bool IsLiveEverywhere(uint64_t generation) const;
  void StartChange(Change* change);
  void StepChanges();
  void TellOutcome(const Change& change);

  // fleet_routes.cc
  void OnPublishRoutes(FleetProcess* process, const PublishRoutes& published, std::vector<Fd> fds);
  void OnRoutesTaken(FleetProcess* process, const RoutesTaken& taken);
  void OnRoutesChanged(FleetProcess* process, const RoutesChanged& changed);
  void OnChangeRoutes(FleetProcess* process, const ChangeRoutes& change);
  void SendRoutes(FleetProcess* ingress);
  void RereadRoutes();
  bool RoutesTakenEverywhere(uint64_t serial) const;
  void AskRegistry(RoutesBroker::Question* question);
  void StepRoutes();
  void TellRoutesOutcomes();
  void AdoptRoutes(const FleetState& state);

  // fleet_adopt.cc
  void StoreState();
  FleetState State() const;
  void StoreMemory(const FleetProcess& process);
  void StoreCatalog(uint64_t forgotten);
  void AdoptTables(const FleetState& state);
  void AdoptCatalog(const FleetState& state);
  void AdoptOneCatalog(const PublishCatalog& catalog);
  void AdoptProcess(const ProcessRecord& record, std::vector<uint32_t>* gone);
  absl::Status AdoptMemory(const ProcessRecord& record, FleetProcess* process);
  void AdoptLinks();
  void Resume(FleetProcess* process, const std::vector<uint32_t>& gone);

  // fleet_handover.cc
  ToProcess DrainOrder() const;
  void TellOpen(FleetProcess* ingress);

  // fleet_observe.cc
  void CarryOver(const FleetProcess& process);
  void CarryOverStored(const FleetProcess& process);
  void StoreSums();
  void AdoptSums();
  void TellObserver();
  FleetView View() const;
  void ShowView();
  void AddDebts(FleetView* view);
  void OnObserving(FleetProcess* process, const Observing& observing);
  void OnWatchVersions(FleetProcess* process, const WatchVersions& watch);
  void TellVersions();

  // fleet_memory.cc
  void TellSettled();
  void TellWorkersSettled();
  void LookAtUse();
  void TellUse();
  std::vector<const Page*> IngressPages() const;

  // fleet_traces.cc
  void OnTraces(FleetProcess* process, const Traces& traces, std::vector<Fd> fds);
  void TellTraces(FleetProcess* observer);

  // fleet_logs.cc
  struct NamedLog {
    std::string process;
    uint32_t incarnation = 0;
    LogFd ring;
  };
  static constexpr size_t kMostEndedLogs = 16;
  void OnLogs(FleetProcess* process, const Logs& logs, std::vector<Fd> fds);
  void KeepLogs(const FleetProcess& process);
  void TellLogs(FleetProcess* observer);

  // fleet_wait.cc
  void TakeLoad();
  CpuList CpusFor(Stage stage, uint32_t index) const;

  // fleet_scale.cc
  void MakeGovernors();
  void StepScaling();
  StageLoad LoadOf(Stage stage);
  bool HoldsScaling(Stage stage) const;
  absl::Status ScaleTo(Stage stage, int64_t count, const char* by);

  // fleet_spare.cc: processes that wait to take another's place.
  void AddSpareSlots();
  void PromoteSpares();
  void CheckSpare(FleetProcess* process, const KernelChoice& choice);
  FleetProcess* WarmSpare(Stage stage);
  bool SpareMayStart(Stage stage) const;
  bool Linked(const FleetProcess& process) const;

  // fleet_storms.cc
  StageLook LookAt(Stage stage) const;
  void CountStageDeath(const FleetProcess& process, bool answered, bool executing);
  void StepStorms();
  void TellBreaker(FleetProcess* ingress, Stage stage);
  void RetellBreakers(FleetProcess* ingress);

  // fleet_life.cc
  void Condemn(FleetProcess* process, int signal);
  void EnterDying(FleetProcess* process, int64_t kill_at_ns);
  void PlanRestart(FleetProcess* process);
  void CountDeviceLoss(FleetProcess* process);
  void CheckBeat(FleetProcess* process, int64_t elapsed_ns);
  void CheckTimeLimits(FleetProcess* process);
  void BeginDrain(FleetProcess* process);
  void BeginStop(FleetProcess* process);
  void StopGroup();
  void AdvanceStop();

  Hands* const hands_;
  const FleetSetup setup_;
  std::map<uint32_t, FleetProcess> processes_;
  std::map<SlotName, FleetSlot> slots_;
  LinkBook book_;
  CatalogDesk desk_;
  IncidentDesk incidents_;
  RoutesBroker routes_;
  bool news_for_admin_ = false;
  StageStorms storms_;
  StatsCarry carry_;
  SharedFd sums_;  // the carry's snapshot; null: there is none
  int ticks_of_view_ = 0;
  FleetView debts_;                   // these alone, and
  std::vector<uint64_t> debts_of_;    // of what they are
  std::vector<NamedLog> ended_logs_;  // of processes that ended since an observer was told last
  VersionWatch watch_;
  uint32_t watcher_ = 0;  // key of the registry that watches
  int ticks_of_versions_ = 0;
  IdleWatch idle_;
  int ticks_of_use_ = 0;
  uint64_t settled_generation_ = 0;  // no request in flight began before it
  WaitPolicy wait_;
  // Of a stage that is scaled by policy.
  struct Scaling {
    ScaleGovernor governor;
    bool pinned = false;  // by hand
    // What its lanes had done at the last look, by incarnation.
    std::map<uint32_t, PageLook> seen;
    int64_t seen_ns = 0;
  };
  std::map<Stage, Scaling> scaling_;
  std::optional<LoadLook> load_;
  int ticks_to_load_ = kTicksALoad;
  std::vector<Change> changes_;  // in the order they were asked for; one is worked on at a time
  uint64_t changes_asked_ = 0;
  std::vector<RosterEntry> published_;
  std::string stored_;  // the state, as stored last
  uint64_t live_generation_ = 0;
  int64_t catalog_since_ns_ = 0;
  bool catalog_failed_ = false;  // the newest: a process said that it cannot take it up
  FleetPhase phase_ = FleetPhase::kRunning;
  int64_t drain_until_ns_ = 0;
  int stop_group_ = 0;
  int exit_code_ = 0;
  bool was_ready_ = false;
  bool hold_ = false;
  bool others_serve_ = false;  // while this pipeline drains
  int64_t last_tick_ns_ = 0;
  int64_t death_seen_ns_ = 0;  // of a death that the roster does not tell yet; 0: none
  int64_t last_death_at_ns_ = 0;
  int64_t last_reroute_ns_ = -1;
  uint64_t deaths_ = 0;
  uint64_t faults_ = 0;
  uint64_t hangs_ = 0;
  uint64_t promotions_ = 0;
};

// What the roster says of these processes, ordered by stage, index and lane.
std::vector<RosterEntry> RosterOf(const std::map<uint32_t, FleetProcess>& processes,
                                  const WaitModes& modes);

// "execution0".
std::string ProcessName(Stage stage, uint32_t index);

}  // namespace millrace
