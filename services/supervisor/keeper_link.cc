#include "services/supervisor/keeper_link.h"

#include <poll.h>

#include <utility>

#include "ipc/control.pb.h"

namespace millrace {
namespace {

constexpr int kHandoverLimitMs = 5000;
constexpr int kSendPatienceMs = 20;

}  // namespace

absl::StatusOr<KeeperLink> KeeperLink::Connect(Fd socket) {
  KeeperLink link;
  link.channel_ = ControlChannel(std::move(socket));
  Handover handover;
  do {
    pollfd wait = {link.channel_.fd(), POLLIN, 0};
    if (poll(&wait, 1, kHandoverLimitMs) != 1 || (wait.revents & POLLIN) == 0) {
      return absl::UnavailableError("no keeper at descriptor 3: the supervisor is started by it");
    }
    std::vector<Fd> fds;
    const absl::StatusOr<bool> received = link.channel_.Receive(&handover, &fds);
    if (!received.ok()) return received.status();
    const size_t listeners = handover.listeners_size();
    if (!*received || fds.size() != listeners + handover.kept_size()) {
      return absl::InvalidArgumentError("the keeper's handover lacks descriptors");
    }
    for (size_t i = 0; i < listeners; ++i) {
      link.listeners_.emplace_back(handover.listeners(static_cast<int>(i)), std::move(fds[i]));
    }
    for (int i = 0; i < handover.kept_size(); ++i) {
      link.kept_[handover.kept(i)] = std::move(fds[listeners + i]);
    }
  } while (handover.more());
  link.restarts_ = handover.restarts();
  link.nothing_lives_ = handover.nothing_lives();
  link.role_ = handover.role();
  link.pipeline_ = handover.pipeline();
  link.stop_ = handover.stop();
  link.upgrading_to_ = handover.upgrading_to();
  link.upgrade_failure_ = handover.upgrade_failure();
  return link;
}

Fd KeeperLink::TakeKept(const std::string& name) {
  const auto it = kept_.find(name);
  if (it == kept_.end()) return Fd();
  Fd fd = std::move(it->second);
  kept_.erase(it);
  return fd;
}

absl::Status KeeperLink::Keep(const std::vector<std::string>& names, absl::Span<const int> fds) {
  ToKeeper message;
  for (const std::string& name : names) message.mutable_keep_all()->add_names(name);
  return Send(message, fds);
}

absl::Status KeeperLink::Forget(const std::string& name) {
  ToKeeper message;
  message.set_forget(name);
  return Send(message, {});
}

absl::Status KeeperLink::ForgetUntaken() {
  absl::Status status;
  for (const auto& [name, fd] : std::exchange(kept_, {})) status.Update(Forget(name));
  return status;
}

absl::Status KeeperLink::Spare(const std::vector<pid_t>& pids) {
  ToKeeper message;
  message.mutable_spare();
  for (pid_t pid : pids) message.mutable_spare()->add_pids(pid);
  return Send(message, {});
}

absl::Status KeeperLink::SetStopLimit(uint32_t milliseconds) {
  ToKeeper message;
  message.set_stop_within_ms(milliseconds);
  return Send(message, {});
}

absl::Status KeeperLink::Upgrade(const std::vector<std::string>& command, const std::string& name,
                                 int64_t ready_within_ms) {
  ToKeeper message;
  for (const std::string& word : command) message.mutable_upgrade()->add_command(word);
  message.mutable_upgrade()->set_name(name);
  message.mutable_upgrade()->set_ready_within_ms(static_cast<uint32_t>(ready_within_ms));
  return Send(message, {});
}

absl::Status KeeperLink::CandidateReady() {
  ToKeeper message;
  message.mutable_candidate_ready();
  return Send(message, {});
}

absl::Status KeeperLink::WaitsFor(const std::string& why) {
  ToKeeper message;
  message.set_waits_for(why);
  return Send(message, {});
}

absl::StatusOr<bool> KeeperLink::Receive(FromKeeper* message) {
  std::vector<Fd> none;
  return channel_.Receive(message, &none);
}

// The keeper does nothing that takes long; one that was stopped by a signal is not waited for.
absl::Status KeeperLink::Send(const ToKeeper& message, absl::Span<const int> fds) {
  absl::Status sent = channel_.Send(message, fds);
  pollfd room = {channel_.fd(), POLLOUT, 0};
  if (absl::IsResourceExhausted(sent) && poll(&room, 1, kSendPatienceMs) == 1) {
    sent = channel_.Send(message, fds);
  }
  return sent;
}

}  // namespace millrace
