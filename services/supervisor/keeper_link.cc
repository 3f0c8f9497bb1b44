#include "services/supervisor/keeper_link.h"

#include <poll.h>

#include "ipc/control.pb.h"

namespace millrace {
namespace {

constexpr int kHandoverLimitMs = 5000;

}  // namespace

absl::StatusOr<KeeperLink> KeeperLink::Connect(Fd socket) {
  KeeperLink link;
  pollfd wait = {socket.get(), POLLIN, 0};
  link.channel_ = ControlChannel(std::move(socket));
  if (poll(&wait, 1, kHandoverLimitMs) != 1 || (wait.revents & POLLIN) == 0) {
    return absl::UnavailableError("no keeper at descriptor 3: the supervisor is started by it");
  }
  Handover handover;
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
  link.restarts_ = handover.restarts();
  return link;
}

Fd KeeperLink::TakeKept(const std::string& name) {
  const auto it = kept_.find(name);
  if (it == kept_.end()) return Fd();
  Fd fd = std::move(it->second);
  kept_.erase(it);
  return fd;
}

absl::Status KeeperLink::Keep(const std::string& name, int fd) {
  ToKeeper message;
  message.set_keep(name);
  return channel_.Send(message, {fd});
}

absl::Status KeeperLink::SetStopLimit(uint32_t milliseconds) {
  ToKeeper message;
  message.set_stop_within_ms(milliseconds);
  return channel_.Send(message);
}

}  // namespace millrace
