#include "tools/bench/ipc_bench/chain_link.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <vector>

#include "ipc/page.h"
#include "ipc/testing/must.h"

namespace millrace::bench {
namespace {

constexpr size_t kFds = 2;

void SendFds(int socket, std::array<int, kFds> fds) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(fds))] = {};
  msghdr packet = {};
  packet.msg_iov = &data;
  packet.msg_iovlen = 1;
  packet.msg_control = space;
  packet.msg_controllen = sizeof(space);
  cmsghdr* const rights = CMSG_FIRSTHDR(&packet);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(fds));
  memcpy(CMSG_DATA(rights), fds.data(), sizeof(fds));
  MR_CHECK(sendmsg(socket, &packet, 0) == 1, "descriptors go to the neighbour");
}

std::array<Fd, kFds> ReceiveFds(int socket) {
  char byte;
  iovec data = {&byte, 1};
  int fds[kFds];
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(fds))];
  msghdr packet = {};
  packet.msg_iov = &data;
  packet.msg_iovlen = 1;
  packet.msg_control = space;
  packet.msg_controllen = sizeof(space);
  MR_CHECK(recvmsg(socket, &packet, MSG_CMSG_CLOEXEC) == 1, "the neighbour sends descriptors");
  const cmsghdr* const rights = CMSG_FIRSTHDR(&packet);
  MR_CHECK(rights != nullptr && rights->cmsg_len == CMSG_LEN(sizeof(fds)), "two of them");
  memcpy(fds, CMSG_DATA(rights), sizeof(fds));
  return {Fd(fds[0]), Fd(fds[1])};
}

uint32_t Incarnation(int index) { return static_cast<uint32_t>(index) + 1; }

}  // namespace

ChainWires MakeWires() {
  ChainWires wires;
  for (int i = 0; i < kChainProcesses; ++i) {
    int ends[2];
    MR_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "a socket pair");
    wires.sockets[i] = {Fd(ends[0]), Fd(ends[1])};
    wires.eventfds[i] = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    MR_CHECK(wires.eventfds[i].valid(), "an eventfd");
  }
  return wires;
}

LinkPort::LinkPort(int index, WaitMode mode, const ChainWires& wires, ChainCounters* counters)
    : mode_(mode), counters_(counters) {
  CountedIdling::yields = &counters->yields;
  const int next = (index + 1) % kChainProcesses;
  const int before = (index + kChainProcesses - 1) % kChainProcesses;
  const int to_next = wires.sockets[index][0].get();
  const int to_before = wires.sockets[before][1].get();
  page_ = Must(Region::Create(kPageType, Incarnation(index), sizeof(Page)));
  out_.emplace(Must(LinkProducer::Create(Incarnation(index), Incarnation(next), kChainSlots)));
  in_.emplace(Must(LinkConsumer::Create(Incarnation(before), Incarnation(index), kChainSlots)));
  SendFds(to_next, {out_->fd(), page_.fd().get()});
  SendFds(to_before, {in_->fd(), page_.fd().get()});
  const std::array<Fd, kFds> of_next = ReceiveFds(to_next);
  const std::array<Fd, kFds> of_before = ReceiveFds(to_before);
  MustOk(out_->Attach(of_next[0].get()));
  MustOk(in_->Attach(of_before[0].get()));
  next_page_ = Must(Region::Open(of_next[1].get(), kPageType, Incarnation(next), sizeof(Page)));
  waiter_ = Waiter(&page_.as<Page>()->parked, wires.eventfds[index].Duplicate());
  waker_ = Waker(&next_page_.as<const Page>()->parked, wires.eventfds[next].Duplicate());
  constexpr auto pages = [](size_t bytes) { return (bytes + 4095) / 4096 * 4096; };
  Count(&counters->shared_bytes, pages(sizeof(Page)) + pages(SlotsRegionBytes(kChainSlots)) +
                                     pages(ReturnsRegionBytes(kChainSlots)));
}

void LinkPort::Park() {
  waiter_.Arm();
  if (!in_->HasNext()) {
    Count(&counters_->parks);
    const bool woken = waiter_.Sleep(Waiter::kMaxSleepMs);
    if (!woken && in_->HasNext()) Count(&counters_->rescues);
  }
  waiter_.Unpark();
  // relaxed: a statistic, read while nothing runs.
  counters_->hogs.store(idler_.hogs(), std::memory_order_relaxed);
}

void LinkPort::Collect() {
  std::vector<uint32_t> blocks;  // stays empty: these messages have none
  MR_CHECK(out_->CollectReturns(&blocks) != LinkResult::kFault,
           "an honest consumer's link is whole");
}

}  // namespace millrace::bench
