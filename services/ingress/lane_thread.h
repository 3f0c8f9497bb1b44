// The thread of one ingress lane: its loop over a protocol server and the lane.
//
// Purpose: one thread polls both, waits as its entry of the roster says while it may get work soon
//   (ipc/idler.h), and parks when it does not.
// Who may call: Start and Stop the control thread; the loop is the lane's thread.
// Invariants:
//   1. Answers are taken off the links before new requests are read, so that load drains first.
//   2. The lane parks only after it armed its epoch and looked at its links once more; while it is
//      blocked in the protocol server, a message on a link ends the block.
//   3. Nothing is accepted before a request could be served: until then clients wait in the
//      listening socket's backlog, also those of an ingress that has died. Nor before Open, where
//      another pipeline serves.
//   4. While it moves its clients to others it serves them: requests are refused only once they
//      have stayed too long.
//   5. While the lane refuses for want of room it leaves new requests unread for some milliseconds,
//      far less than they have (IngressLane::TakeRestNs); what workers send ends that.
// What fails: a socket that cannot be used ends the process (it was ours, opened by the keeper).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"
#include "common/config.h"
#include "ipc/idler.h"
#include "services/ingress/access/access.h"
#include "services/ingress/client_shm/regions.h"
#include "services/ingress/core/ingress_lane.h"

namespace millrace {

// A protocol server as the loop drives it.
class ProtocolServer {
 public:
  virtual ~ProtocolServer() = default;
  virtual size_t Poll() = 0;
  // Blocks at most so long; a write to the lane's eventfd ends it. False: only time passed.
  virtual bool Block(int64_t max_ns) = 0;
  virtual void Drain() = 0;
  // Accepts nobody more and tells everybody to come to another process; serves them meanwhile.
  // Again: nothing.
  virtual void Move() = 0;
  // After Drain: every client has its answer. After Move alone: every client has gone.
  virtual bool Drained() const = 0;
  virtual void Shutdown() = 0;
};

// What a protocol's server is made from; all of it outlives the server.
struct ServerParts {
  IngressLane* lane;
  int wake_fd;
  const Config& config;
  int listening_fd;
  ClientRegions* regions;      // clients' shared memory, one table for all lanes of the process
  std::shared_ptr<Keys> keys;  // API keys, likewise
};

// Whether the files that TLS needs can be used; OK without TLS.
absl::Status CheckTls(const Config& config);

absl::StatusOr<std::unique_ptr<ProtocolServer>> MakeGrpcServer(const ServerParts& parts);
absl::StatusOr<std::unique_ptr<ProtocolServer>> MakeHttpServer(const ServerParts& parts);
absl::StatusOr<std::unique_ptr<ProtocolServer>> MakeLocalServer(const ServerParts& parts);

class LaneThread {
 public:
  LaneThread(Lane* lane, Ledger* ledger, const Config& config, IngressShared shared);
  // `make` runs on the lane's thread, once the lane is ready to serve.
  using MakeServer = std::function<absl::StatusOr<std::unique_ptr<ProtocolServer>>()>;
  void Start(MakeServer make, bool hold = false);
  void Open();  // ends the hold
  // `drained` is called on the lane's thread.
  void Drain(std::function<void()> drained);
  // Moves the clients until `until_ns`, then drains.
  void Move(int64_t until_ns, std::function<void()> drained);
  void Stop();

  IngressLane& ingress() { return ingress_; }
  Lane& lane() { return *lane_; }

 private:
  void Run();
  void OpenWhenReady();
  void BeginDrain();
  void StepDrain();
  bool Sleep(int64_t most_ns);  // false: only time passed
  void Park();
  void Rest(int64_t most_ns);  // answers of workers end it, new requests do not

  Lane* lane_;
  IngressLane ingress_;
  MakeServer make_;
  bool hold_ = false;
  std::unique_ptr<ProtocolServer> server_;  // null until the lane is ready
  Idler idler_;
  std::thread thread_;
  std::atomic<bool> stop_{false};
  std::function<void()> drained_;
  int64_t move_until_ns_ = 0;  // while clients are moved
};

}  // namespace millrace
