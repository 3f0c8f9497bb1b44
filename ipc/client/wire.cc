#include "ipc/client/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

namespace millrace {

template <typename T>
T PacketReader::Number() {
  T value = 0;
  if (left_.size() < sizeof value) {
    ok_ = false;
    left_ = {};
    return 0;
  }
  memcpy(&value, left_.data(), sizeof value);
  left_.remove_prefix(sizeof value);
  return value;
}
template uint32_t PacketReader::Number<uint32_t>();
template uint64_t PacketReader::Number<uint64_t>();

std::string_view PacketReader::Text() {
  const uint32_t size = U32();
  if (size > left_.size()) {
    ok_ = false;
    left_ = {};
    return {};
  }
  const std::string_view text = left_.substr(0, size);
  left_.remove_prefix(size);
  return text;
}

namespace {

// As it lies in the payload, behind the block's reference.
struct TraceWords {
  uint64_t high, low, span;
};
static_assert(sizeof(BlockRef) + sizeof(TraceWords) == kInlineBytes);

}  // namespace

void PutTrace(const TraceContext& trace, Message* message) {
  const TraceWords words = {trace.trace.high, trace.trace.low, trace.span};
  memcpy(message->payload + sizeof(BlockRef), &words, sizeof words);
  message->flags = kLocalTraced | (trace.sampled ? kLocalSampled : 0);
}

TraceContext TraceOf(const Message& message) {
  TraceWords words;
  memcpy(&words, message.payload + sizeof(BlockRef), sizeof words);
  return {{words.high, words.low}, words.span, (message.flags & kLocalSampled) != 0};
}

bool SendPacket(int socket, std::string_view bytes, const std::vector<int>& fds) {
  iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kLocalRegions)] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    memcpy(CMSG_DATA(head), fds.data(), sizeof(int) * fds.size());
  }
  while (true) {
    const ssize_t sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0 || errno != EINTR) return sent == static_cast<ssize_t>(bytes.size());
  }
}

Received ReceivePacket(int socket, std::vector<char>* buffer, std::string_view* packet,
                       std::vector<Fd>* fds) {
  buffer->resize(kMaxPacketBytes);
  fds->clear();
  iovec part = {buffer->data(), buffer->size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kLocalRegions)] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size;
  do {
    size = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    // A reset is told once, before what the other end sent last; behind it comes the end.
  } while (size < 0 && (errno == EINTR || errno == ECONNRESET));
  if (size < 0) {
    return errno == EAGAIN || errno == EWOULDBLOCK ? Received::kNothing : Received::kEnd;
  }
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; i < (head->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof fd);
      fds->push_back(Fd(fd));
    }
  }
  if (size == 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return Received::kEnd;
  *packet = {buffer->data(), static_cast<size_t>(size)};
  return Received::kPacket;
}

void SendWake(int socket) {
  const uint32_t words[2] = {static_cast<uint32_t>(PacketType::kWake), 0};
  while (send(socket, words, sizeof words, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

}  // namespace millrace
