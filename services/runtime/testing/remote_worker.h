// A real worker process beside a test that plays its supervisor and its ingress lane.
//
// Purpose: start, link, talk to, kill and reap a process built on the runtime. Who may call: the
//   test's one thread, which also polls the ingress lane. Ownership: the child is killed and reaped
//   at the latest by the destructor.
// Invariants: 1. no call waits longer than kPatienceMs; 2. the child has only its socket (3) and
// the
//   standard streams open. What fails: set-up ends the test's process with a sentence.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "services/runtime/testing/lane_rig.h"

namespace millrace {

class RemoteWorker {
 public:
  static constexpr int kPatienceMs = 20'000;

  // Starts `program` (a path in the runfiles) with `arguments`; nothing is said to it yet.
  RemoteWorker(LaneRig* rig, Stage stage, const std::string& program,
               std::vector<std::string> arguments = {});
  ~RemoteWorker();
  RemoteWorker(const RemoteWorker&) = delete;

  // Configure, and its announcement.
  void Configure(const std::string& yaml);
  // Both links with `ingress`, up on both sides; the roster then says ready.
  void LinkWith(TestLane* ingress);

  void Send(const ToProcess& message, std::vector<int> fds = {});
  // The next message that is not a LinkUp; nothing once the process has closed its socket.
  std::optional<FromProcess> Receive(std::vector<Fd>* fds = nullptr);

  uint32_t incarnation() const { return id_.incarnation; }
  const Page& page() const { return *page_.as<const Page>(); }
  // Whether its main thread has ended, by the robust futex.
  bool Dead() const;
  void Signal(int signal);
  // Closes the supervisor's end of the socket.
  void HangUp() { channel_ = ControlChannel(); }
  // Waits for its end; the status of waitpid.
  int Reap();

 private:
  void SendPeer(TestLane* ingress);
  std::shared_ptr<PeerLane> MakeView() const;

  LaneRig* rig_;
  LaneId id_;
  pid_t pid_ = -1;
  ControlChannel channel_;
  Region page_;
  std::vector<Fd> memory_;  // page, arena, wake
  std::vector<std::pair<uint32_t, uint32_t>> link_ups_;
};

}  // namespace millrace
