#include "ipc/control_channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

// Space for the descriptors of one packet, aligned as cmsg needs it.
struct ControlSpace {
  alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(int) * ControlChannel::kMaxFds)];
};

void TakeFds(const msghdr& header, std::vector<Fd>* fds) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&header), c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      fds->emplace_back(fd);
    }
  }
}

}  // namespace

absl::StatusOr<std::pair<Fd, Fd>> ControlChannel::MakePair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("socketpair: ", strerror(errno)));
  }
  return std::make_pair(Fd(ends[0]), Fd(ends[1]));
}

absl::Status ControlChannel::Send(const google::protobuf::MessageLite& message,
                                  absl::Span<const int> fds) {
  const std::string bytes = message.SerializeAsString();
  if (bytes.size() > kMaxBytes || fds.size() > kMaxFds) {
    return absl::InvalidArgumentError("control message over its limits");
  }
  ControlSpace space;
  iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = space.bytes;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
  }
  while (sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
      return absl::ResourceExhaustedError("control channel is full");
    }
    return absl::UnavailableError(absl::StrCat("control channel: ", strerror(errno)));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ControlChannel::Receive(google::protobuf::MessageLite* message,
                                             std::vector<Fd>* fds) {
  buffer_.resize(kMaxBytes);
  ControlSpace space;
  iovec part = {buffer_.data(), buffer_.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = space.bytes;
  header.msg_controllen = sizeof space.bytes;
  ssize_t n;
  do {
    n = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    return absl::UnavailableError(absl::StrCat("control channel: ", strerror(errno)));
  }
  fds->clear();
  TakeFds(header, fds);
  // A message of ours is never empty: each holds one of the oneof.
  if (n == 0) return absl::UnavailableError("control channel: the other end is gone");
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return absl::InvalidArgumentError("control message was cut");
  }
  if (!message->ParseFromArray(buffer_.data(), static_cast<int>(n))) {
    return absl::InvalidArgumentError("control message cannot be parsed");
  }
  return true;
}

}  // namespace millrace
