// The supervisor's end of the keeper's socket.
//
// Purpose: get the listening sockets and what an earlier supervisor stored; store descriptors that
//   shall outlive this one. Who may call: the supervisor's main thread.
// Ownership: taken descriptors are the caller's; stored ones are copied to the keeper.
// What fails: Connect where no keeper started us; Keep and the like where the keeper is gone or
// does
//   not read; Receive where it is gone.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"

namespace millrace {

class KeeperLink {
 public:
  // Waits a few seconds for the keeper's first message.
  static absl::StatusOr<KeeperLink> Connect(Fd socket);

  std::vector<std::pair<std::string, Fd>>& listeners() { return listeners_; }
  Fd TakeKept(const std::string& name);  // invalid: nothing was stored under it
  uint32_t restarts() const { return restarts_; }

  Handover::Role role() const { return role_; }
  uint32_t pipeline() const { return pipeline_; }
  bool stop() const { return stop_; }  // the server is to end: drain
  const std::string& upgrading_to() const { return upgrading_to_; }
  const std::string& upgrade_failure() const { return upgrade_failure_; }

  // No process of an earlier supervisor is left: what was kept of them is of no use.
  bool nothing_lives() const { return nothing_lives_; }

  // All of them or, where it fails, none.
  absl::Status Keep(const std::vector<std::string>& names, absl::Span<const int> fds);
  absl::Status Forget(const std::string& name);  // one that ends in '/': all that begin with it
  absl::Status ForgetUntaken();
  // We have taken over: the keeper kills its children but these.
  absl::Status Spare(const std::vector<pid_t>& pids);
  absl::Status SetStopLimit(uint32_t milliseconds);

  // A second supervisor beside this one; Retired or UpgradeFailed follow.
  absl::Status Upgrade(const std::vector<std::string>& command, const std::string& name,
                       int64_t ready_within_ms);
  // Of a candidate.
  absl::Status CandidateReady();
  absl::Status WaitsFor(const std::string& why);

  // False: it has said nothing more.
  absl::StatusOr<bool> Receive(FromKeeper* message);
  int fd() const { return channel_.fd(); }

 private:
  absl::Status Send(const ToKeeper& message, absl::Span<const int> fds);

  ControlChannel channel_;
  std::vector<std::pair<std::string, Fd>> listeners_;
  std::map<std::string, Fd> kept_;
  uint32_t restarts_ = 0;
  bool nothing_lives_ = true;
  Handover::Role role_ = Handover::SERVING;
  uint32_t pipeline_ = 0;
  bool stop_ = false;
  std::string upgrading_to_, upgrade_failure_;
};

}  // namespace millrace
