// The control thread of a process: the supervisor's messages turned into lanes, links and catalogs.
//
// Purpose: everything with sockets and descriptors, off the lanes. Who may call: RunProcess, on the
//   main thread. Ownership: owns lanes, ledgers and halves not yet joined.
// Invariants:
//   1. A link reaches its lane only when both halves are mapped and checked.
//   2. A peer's memory that cannot be opened is reported as a Fault of that peer.
//   3. What a supervisor that died may have read and not acted on is said again to the next one:
//      faults of peers that did not end, changes without an answer, the catalog that is taken up.
// What fails: Run returns an exit code (process.h).
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "ipc/link.h"
#include "services/runtime/lane.h"
#include "services/runtime/lane_traces.h"
#include "services/runtime/outbox.h"
#include "services/runtime/page_entry.h"
#include "services/runtime/process.h"

namespace millrace {

class Control {
 public:
  Control(Fd socket, Stage stage, StageProcess* process);
  int Run();

 private:
  using LinkName = std::pair<uint32_t, uint32_t>;  // producer, consumer
  struct HalfLink {
    Lane* lane;
    std::shared_ptr<PeerLane> peer;
    std::variant<LinkProducer, LinkConsumer> end;
  };
  struct OwnLane {
    std::unique_ptr<Ledger> ledger;
    std::unique_ptr<Lane> lane;
  };

  // A stage that is not known: none.
  static LaneId ToLaneId(const LaneName& name);
  // Each handles one message; nothing: go on, a value: exit with it.
  std::optional<int> Handle(ToProcess& message, std::vector<Fd> fds);
  std::optional<int> OnConfigure(const Configure& configure, std::vector<Fd> fds);
  std::optional<int> OnPeer(const ::millrace::Peer& peer, std::vector<Fd> fds);
  void OnPeerGone(uint32_t gone);
  void OnDrain(const Drain& drain);
  void OnPeerHalf(const PeerHalf& half, std::vector<Fd> fds);
  void OnCatalog(const CatalogUpdate& update, std::vector<Fd> fds);
  void OnRoutes(const RoutesUpdate& update, const std::vector<Fd>& fds);
  std::optional<int> OnAdopted(std::vector<Fd> fds);
  void OnTakeProfile(const TakeProfile& take);
  void Remember(const FromProcess& message);

  absl::Status MakeLane(const LaneName& name, const Config& config, const Fd& roster);
  template <typename End>
  absl::Status MakeHalf(Lane* lane, const std::shared_ptr<PeerLane>& peer, LinkName name,
                        absl::StatusOr<End> end);
  void Report(uint32_t incarnation, const absl::Status& status);
  absl::Status Announce();
  // Sends, waiting for a slow supervisor; false once it is gone.
  bool SendNow(const FromProcess& message, absl::Span<const int> fds = {});

  ControlChannel channel_;
  Stage stage_;
  StageProcess* process_;
  Outbox outbox_;
  std::vector<OwnLane> lanes_;
  std::map<LinkName, HalfLink> halves_;
  // A dead peer's memory is let go here, at PeerGone, and not by the lane that ends its links: to
  // unmap a large arena takes longer than a request, and its requests wait to be sent again.
  std::multimap<uint32_t, std::shared_ptr<PeerLane>> peers_;  // by incarnation
  PageEntry pages_;
  LaneTraces traces_;
  // Own lanes live as long as this.
  const std::shared_ptr<const void> alive_ = std::make_shared<int>();
  bool configured_ = false;
  uint64_t catalog_seen_ = 0;  // newest generation that came
  std::atomic<uint64_t> catalog_taken_{0};
  // Said and, as far as we know, still open: said again to a supervisor that took over.
  std::map<uint32_t, FromProcess> faults_;   // by incarnation of the accused
  std::map<uint64_t, FromProcess> changes_;  // by request
  std::set<uint64_t> routes_asked_;          // and not answered
};

}  // namespace millrace
