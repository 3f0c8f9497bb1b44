#include "services/ingress/local/local_server.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "common/clock.h"
#include "common/log.h"

namespace millrace {
namespace {

constexpr uint64_t kWakeKey = 0, kListenKey = 1;
constexpr int kEvents = 64;
// A client that has not handed its regions over by then is dropped.
constexpr int64_t kGreetNs = 5 * kNanosPerSecond;

void RefuseSocket(int socket, absl::StatusCode code, std::string_view sentence) {
  PacketWriter refused(PacketType::kRefused, 0);
  refused.U32(static_cast<uint32_t>(code));
  refused.Text(sentence);
  SendPacket(socket, refused.bytes());
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalServer>> LocalServer::Create(Frontend* frontend,
                                                                 const LocalOptions& options,
                                                                 int listening_fd, int wake_fd) {
  std::unique_ptr<LocalServer> server(new LocalServer);
  server->shared_.frontend = frontend;
  server->shared_.options = options;
  server->shared_.memory_left = options.memory_bytes;
  absl::StatusOr<Region> words = Region::Create(kLocalWordsType, kServerEnd, sizeof(LocalWords));
  if (!words.ok()) return words.status();
  server->shared_.words = std::move(*words);
  server->park_ = ParkWord<Hardware>(&server->shared_.words.as<LocalWords>()->parked);
  server->epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  server->spare_ = Fd(eventfd(0, EFD_CLOEXEC));
  server->listening_fd_ = listening_fd;
  if (!server->epoll_.valid() || !server->spare_.valid() || !server->Watch(wake_fd, kWakeKey) ||
      !server->Watch(listening_fd, kListenKey)) {
    return absl::ResourceExhaustedError("no descriptor left for the local lane");
  }
  return server;
}

bool LocalServer::Watch(int fd, uint64_t key) {
  epoll_event event = {EPOLLIN, {.u64 = key}};
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

size_t LocalServer::in_flight() const {
  size_t sum = 0;
  for (const Entry& entry : peers_) sum += entry.peer->in_flight();
  return sum;
}

void LocalServer::Drain() {
  shared_.draining = true;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listening_fd_, nullptr);
}

void LocalServer::Move() {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listening_fd_, nullptr);
  moving_ = true;
  // release: meets the acquire in LocalClient::Moving.
  shared_.words.as<LocalWords>()->moving.store(1, std::memory_order_release);
}

bool LocalServer::drained() const {
  return in_flight() == 0 && (shared_.draining || (moving_ && peers_.empty()));
}

size_t LocalServer::Poll() {
  for (Entry& entry : peers_) entry.peer->Flush();  // what ended since the last turn
  size_t done = 0;
  if (++turns_ % kTurnsPerLook == 0) done += LookAtSockets(0);
  bool gone = false;
  for (Entry& entry : peers_) {
    done += entry.peer->Drain();
    entry.peer->Flush();
    gone = gone || entry.peer->gone();
  }
  if (gone || turns_ % kTurnsPerSweep == 0) Sweep();
  return done;
}

bool LocalServer::Block(int64_t max_ns) {
  park_.Arm();
  const bool work = std::any_of(peers_.begin(), peers_.end(),
                                [](const Entry& entry) { return entry.peer->HasWork(); });
  const bool woken = work || LookAtSockets(static_cast<int>(max_ns / kNanosPerMilli)) > 0;
  park_.Disarm();
  Sweep();
  return woken;
}

size_t LocalServer::LookAtSockets(int timeout_ms) {
  epoll_event events[kEvents];
  const int count = epoll_wait(epoll_.get(), events, kEvents, timeout_ms);
  for (int i = 0; i < count; ++i) {
    const uint64_t key = events[i].data.u64;
    if (key == kWakeKey) continue;  // the lane reads it
    if (key == kListenKey) {
      Accept();
      continue;
    }
    for (Entry& entry : peers_) {
      if (entry.key == key && !entry.peer->gone()) entry.peer->OnSocket();
    }
  }
  return count > 0 ? static_cast<size_t>(count) : 0;
}

void LocalServer::Accept() {
  for (int i = 0; i < kAccepts; ++i) {
    Fd socket(accept4(listening_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.valid()) {
      Admit(std::move(socket));
    } else if ((errno == EMFILE || errno == ENFILE) && spare_.valid()) {
      spare_ = Fd();
      socket = Fd(accept4(listening_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (socket.valid()) {
        RefuseSocket(socket.get(), absl::StatusCode::kResourceExhausted,
                     "the server has no descriptor left");
      }
      socket = Fd();
      spare_ = Fd(eventfd(0, EFD_CLOEXEC));
    } else {
      return;
    }
  }
}

void LocalServer::Admit(Fd socket) {
  ucred peer = {};
  socklen_t size = sizeof peer;
  const auto& uids = shared_.options.uids;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
  if (peer.uid != 0 && peer.uid != geteuid() &&
      std::find(uids.begin(), uids.end(), peer.uid) == uids.end()) {
    return RefuseSocket(socket.get(), absl::StatusCode::kPermissionDenied,
                        "this user may not use the local socket (ingress.local_uids)");
  }
  if (peers_.size() >= shared_.options.max_clients) {
    return RefuseSocket(socket.get(), absl::StatusCode::kResourceExhausted,
                        "too many local clients are connected");
  }
  const int fd = socket.get();
  const uint64_t key = next_key_++;
  peers_.push_back(
      {key, std::make_unique<LocalPeer>(&shared_, std::move(socket), MonotonicNanos() + kGreetNs)});
  if (!Watch(fd, key)) peers_.pop_back();
}

void LocalServer::Sweep() {
  const int64_t now_ns = MonotonicNanos();
  for (Entry& entry : peers_) {
    LocalPeer& peer = *entry.peer;
    if (peer.closed()) continue;
    const bool silent = !peer.serving() && now_ns > peer.greet_until_ns();
    if (!peer.gone() && !silent) continue;
    if (peer.why_cut() != nullptr) {
      Log(LogLevel::kInfo, "local_client_cut_off", {{"why", peer.why_cut()}});
    }
    peer.Close();
  }
  std::erase_if(peers_, [](const Entry& entry) {
    return entry.peer->closed() && entry.peer->in_flight() == 0;
  });
}

}  // namespace millrace
