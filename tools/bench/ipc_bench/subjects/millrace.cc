#include "tools/bench/ipc_bench/subjects/millrace.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace millrace::bench {
namespace {

constexpr size_t kFds = 5;  // arena, page, eventfd, slots, returns

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (value.ok()) return std::move(*value);
  fprintf(stderr, "millrace: %s\n", value.status().ToString().c_str());
  _exit(1);
}

void MustOk(const absl::Status& status) { Must(status.ok() ? absl::StatusOr<int>(0) : status); }

uint32_t IncarnationOf(Side side) { return side == Side::kA ? 1 : 2; }

// One message with the descriptors as ancillary data, each way.
struct FdMessage {
  FdMessage() {
    iov = {&byte, 1};
    header.msg_iov = &iov;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
  }
  char byte = 0;
  iovec iov;
  msghdr header = {};
  alignas(cmsghdr) char control[CMSG_SPACE(kFds * sizeof(int))] = {};
};

void SendFds(int socket, const int (&fds)[kFds]) {
  FdMessage message;
  cmsghdr* control = CMSG_FIRSTHDR(&message.header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(fds));
  memcpy(CMSG_DATA(control), fds, sizeof(fds));
  if (sendmsg(socket, &message.header, 0) != 1) Die("sendmsg");
}

void ReceiveFds(int socket, Fd (&to)[kFds]) {
  FdMessage message;
  if (recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC) != 1) Die("recvmsg");
  int fds[kFds];
  memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message.header)), sizeof(fds));
  for (size_t i = 0; i < kFds; ++i) to[i] = Fd(fds[i]);
}

}  // namespace

// Found by trial. What a small block needs is that it is not written while the reader's processor
// still holds its lines. A large one is read sooner from the shared cache than from the writer's
// own of 1 MiB: blocks of a few MiB in turn spill from there.
size_t BestHotBlocks(size_t bytes) {
  constexpr size_t kFewest = 16, kMost = 128, kSmall = 4 << 10, kSpill = 4 << 20;
  return bytes <= kSmall ? kFewest : std::clamp(kSpill / bytes, kFewest, kMost);
}

size_t Millrace::hot_blocks = 0;

Millrace::Shared::Shared(size_t) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) Die("socketpair");
  for (size_t i = 0; i < 2; ++i) sockets[i] = Fd(fds[i]);
}

Millrace::End::End(Shared& shared, Side side, size_t bytes)
    : bytes_(bytes),
      hot_blocks_(hot_blocks > 0 ? hot_blocks : BestHotBlocks(bytes)),
      out_(Must(LinkProducer::Create(IncarnationOf(side), 3 - IncarnationOf(side)))),
      in_(Must(LinkConsumer::Create(3 - IncarnationOf(side), IncarnationOf(side)))) {
  const uint32_t me = IncarnationOf(side), peer = 3 - me;
  ArenaShape shape;
  const size_t lines = (bytes + kLineBytes - 1) / kLineBytes;
  shape.classes = {{static_cast<uint32_t>(lines * kLineBytes), static_cast<uint32_t>(hot_blocks_)}};
  arena_ = Must(Arena::Create(me, shape));
  page_ = Must(Region::Create(kPageType, me, sizeof(Page)));
  eventfd_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  returned_.reserve(kSlots);

  const int socket = shared.sockets[static_cast<size_t>(side)].get();
  SendFds(socket,
          {arena_.region().fd().get(), page_.fd().get(), eventfd_.get(), out_.fd(), in_.fd()});
  Fd fds[kFds];
  ReceiveFds(socket, fds);
  peer_arena_ = Must(ArenaView::Open(fds[0].get(), peer));
  peer_page_ = Must(Region::Open(fds[1].get(), kPageType, peer, sizeof(Page)));
  waker_ = Waker(&peer_page_.as<const Page>()->parked, std::move(fds[2]));
  MustOk(in_.Attach(fds[3].get()));
  MustOk(out_.Attach(fds[4].get()));
}

void Millrace::End::Broken() {
  fprintf(stderr, "millrace: the link has a fault\n");
  _exit(1);
}

}  // namespace millrace::bench
