// The hands of the fleet: real processes, sockets, pages and the roster.
//
// Purpose: do what the fleet decides and turn what happens into its events.
// Who may call: the supervisor's main thread. Ownership: owns every channel, pidfd, mapped page and
//   watcher of a process until Forget.
// Invariants: 1. nothing here blocks on a child: sockets do not block, and a wake-up is written
// only
//   where it is taken at once. 2. A page is read only after its region was checked.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ipc/control_channel.h"
#include "services/supervisor/event_loop.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/incarnations.h"
#include "services/supervisor/keeper_link.h"
#include "services/supervisor/load_sampler.h"
#include "services/supervisor/placement.h"
#include "services/supervisor/watcher.h"

namespace millrace {

struct Programs {
  std::string binaries;  // <binaries>/<stage>/<stage>
  std::string compiler;  // the registry's child
  std::vector<std::string> CommandFor(Stage stage) const;
};

class ProcessTable : public Hands {
 public:
  // `keeper` outlives the table. The roster goes on after the stored one of an earlier supervisor.
  static absl::StatusOr<std::unique_ptr<ProcessTable>> Create(EventLoop* loop, Programs programs,
                                                              Incarnations incarnations,
                                                              KeeperLink* keeper);
  ~ProcessTable() override;

  // Before the fleet starts: to whom events go.
  void SetFleet(Fleet* fleet) { fleet_ = fleet; }
  SharedFd roster_fd() const { return roster_fd_; }
  // Before the fleet starts: where processes are put.
  void SetPlacer(std::unique_ptr<Placer> placer) { placer_ = std::move(placer); }
  pid_t PidOf(uint32_t key) const override;
  const Page* PageOf(uint32_t incarnation) const override;

  int64_t NowNs() override;
  double Random() override;
  uint32_t NewIncarnation() override { return incarnations_.Next(); }
  absl::Status Spawn(uint32_t key, Stage stage, uint32_t index, const CpuList& cpus) override;
  absl::Status Send(uint32_t key, const ToProcess& message, const FdList& fds) override;
  void Signal(uint32_t key, int signal) override;
  bool IsStopped(uint32_t key) override;
  absl::Status OpenPages(uint32_t key, const std::vector<LanePage>& pages) override;
  std::optional<PageLook> Look(uint32_t incarnation) override;
  void Forget(uint32_t key) override;
  void PublishRoster(absl::Span<const RosterEntry> lanes, const FdList& wakes) override;
  void Store(const std::vector<std::pair<std::string, SharedFd>>& fds) override;
  void StoreState(const std::string& bytes) override;
  void DropStored(const std::string& prefix) override;
  SharedFd TakeStored(const std::string& name) override;
  absl::Status Adopt(uint32_t key) override;
  std::optional<LoadLook> SampleLoad() override;
  std::vector<pid_t> Pids() const;

 private:
  struct Entry {
    pid_t pid = 0;
    Fd pidfd;
    ControlChannel channel;
    std::vector<std::pair<uint32_t, Region>> pages;  // by incarnation
    std::unique_ptr<Watcher> watcher;                // ends before its page is unmapped
  };

  ProcessTable(EventLoop* loop, Programs programs, Incarnations incarnations, KeeperLink* keeper);
  void Enter(uint32_t key, Entry entry);
  void Keep(const std::vector<std::string>& names, const std::vector<int>& fds);
  void OnChannel(uint32_t key);
  void OnPidfd(uint32_t key);
  void OnBoard();
  void CloseChannel(Entry* entry);

  EventLoop* const loop_;
  const Programs programs_;
  std::unique_ptr<Placer> placer_;  // null: nobody is put anywhere
  Incarnations incarnations_;
  KeeperLink* const keeper_;
  LoadSampler load_{"/proc", AllowedCpus(0)};
  std::unique_ptr<DeathBoard> board_;
  std::optional<RosterWriter> roster_;
  SharedFd roster_fd_;
  Fleet* fleet_ = nullptr;
  std::map<uint32_t, Entry> entries_;
  std::minstd_rand random_;
};

}  // namespace millrace
