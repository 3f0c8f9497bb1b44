#include "services/supervisor/admin_server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"

namespace millrace {
namespace {

constexpr size_t kMaxClients = 32;
constexpr size_t kMaxLine = 64 << 10;
constexpr size_t kMaxUnread = 1 << 20;  // replies that a client has not read
constexpr int kBacklog = 16;
constexpr int kFlags = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError("supervisor.admin_socket: a path has from 1 to 107 bytes");
  }
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::Status CannotListen(const std::string& path, const char* why) {
  return absl::UnavailableError(absl::StrCat("supervisor.admin_socket: ", path, ": ", why));
}

uint64_t InodeOf(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) ? info.st_ino : 0;
}

// Somebody else's file, if it is no socket, is left where it is.
bool InTheWay(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && !S_ISSOCK(info.st_mode);
}

absl::StatusOr<Fd> OpenSocket(const std::string& path, bool take_over) {
  const absl::StatusOr<sockaddr_un> address = AddressOf(path);
  if (!address.ok()) return address.status();
  const auto* generic = reinterpret_cast<const sockaddr*>(&*address);
  const Fd probe(socket(AF_UNIX, kFlags, 0));
  if (!take_over && (connect(probe.get(), generic, sizeof *address) == 0 || errno == EAGAIN)) {
    return CannotListen(path, "another server answers there");
  }
  if (InTheWay(path)) return CannotListen(path, "a file that is no socket is there");
  const size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0) mkdir(path.substr(0, slash).c_str(), 0700);
  // Under another name first: it listens before anybody can find it, and what a killed or retired
  // supervisor left is replaced in one step.
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  const std::string first = absl::StrCat(folder, ".", getpid());
  const absl::StatusOr<sockaddr_un> first_address = AddressOf(first);
  if (!first_address.ok()) return CannotListen(path, "its folder has too long a name");
  unlink(first.c_str());
  Fd fd(socket(AF_UNIX, kFlags, 0));
  const mode_t before = umask(0177);
  const int bound = fd.valid() ? bind(fd.get(), reinterpret_cast<const sockaddr*>(&*first_address),
                                      sizeof *first_address)
                               : -1;
  const int error = errno;
  umask(before);
  if (bound != 0) return CannotListen(path, strerror(error));
  if (listen(fd.get(), kBacklog) != 0 || rename(first.c_str(), path.c_str()) != 0) {
    const int why = errno;
    unlink(first.c_str());
    return CannotListen(path, strerror(why));
  }
  return fd;
}

bool MayAsk(int fd, uid_t* user) {
  ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  *user = peer.uid;
  return peer.uid == 0 || peer.uid == geteuid();
}

}  // namespace

AdminServer::AdminServer(EventLoop* loop, std::string path, Handler handler, Fd socket)
    : loop_(loop),
      path_(std::move(path)),
      handler_(std::move(handler)),
      socket_(std::move(socket)) {}

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Listen(EventLoop* loop,
                                                                 const std::string& path,
                                                                 Handler handler, bool take_over) {
  absl::StatusOr<Fd> socket = OpenSocket(path, take_over);
  if (!socket.ok()) return socket.status();
  std::unique_ptr<AdminServer> server(
      new AdminServer(loop, path, std::move(handler), std::move(*socket)));
  server->inode_ = InodeOf(path);
  AdminServer* const self = server.get();
  const absl::Status added =
      loop->Add(server->socket_.get(), EPOLLIN, [self](uint32_t) { self->OnConnection(); });
  if (!added.ok()) return added;
  return server;
}

AdminServer::~AdminServer() {
  while (!clients_.empty()) Drop(clients_.begin()->first);
  loop_->Remove(socket_.get());
  if (IsOurs()) unlink(path_.c_str());
}

bool AdminServer::IsOurs() const { return inode_ != 0 && InodeOf(path_) == inode_; }

void AdminServer::OnConnection() {
  Fd fd(accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  uid_t user = 0;
  if (!fd.valid() || !MayAsk(fd.get(), &user)) return;
  if (clients_.size() >= kMaxClients) DropOldest();
  const int number = fd.get();
  const absl::Status added =
      loop_->Add(number, EPOLLIN, [this, number](uint32_t events) { OnClient(number, events); });
  if (!added.ok()) return;
  Client client;
  client.socket = std::move(fd);
  client.user = user;
  client.order = next_order_++;
  clients_[number] = std::move(client);
}

void AdminServer::OnClient(int fd, uint32_t events) {
  Client& client = clients_.at(fd);
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) return Drop(fd);
  if ((events & EPOLLOUT) != 0 && !Flush(&client)) return Drop(fd);
  if ((events & EPOLLIN) == 0) return;
  char text[4096];
  const ssize_t n = recv(fd, text, sizeof text, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return Drop(fd);
  client.ended = n == 0;
  client.in.append(text, n);
  if (client.in.size() > kMaxLine || client.out.size() > kMaxUnread || !Answer(&client)) Drop(fd);
}

bool AdminServer::Answer(Client* client) {
  size_t end;
  while (client->waiting.empty() && (end = client->in.find('\n')) != std::string::npos) {
    const std::string line = client->in.substr(0, end);
    client->in.erase(0, end + 1);
    client->asked_ns = MonotonicNanos();
    asker_ = client->user;
    if (std::optional<std::string> reply = handler_(line, client->asked_ns)) {
      client->out += *reply + "\n";
    } else {
      client->waiting = line;
    }
  }
  return Flush(client);
}

bool AdminServer::Flush(Client* client) {
  while (!client->out.empty()) {
    const ssize_t n =
        send(client->socket.get(), client->out.data(), client->out.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) return false;
    if (n < 0) break;
    client->out.erase(0, n);
  }
  loop_->Change(client->socket.get(), (client->ended ? 0u : uint32_t{EPOLLIN}) |
                                          (client->out.empty() ? 0u : uint32_t{EPOLLOUT}));
  return !client->ended || !client->out.empty() || !client->waiting.empty();
}

void AdminServer::Retry() {
  std::vector<int> gone;
  for (auto& [fd, client] : clients_) {
    if (client.waiting.empty()) continue;
    asker_ = client.user;
    std::optional<std::string> reply = handler_(client.waiting, client.asked_ns);
    if (!reply.has_value()) continue;
    client.waiting.clear();
    client.out += *reply + "\n";
    if (!Answer(&client)) gone.push_back(fd);
  }
  for (int fd : gone) Drop(fd);
}

void AdminServer::Drop(int fd) {
  loop_->Remove(fd);
  clients_.erase(fd);
}

void AdminServer::DropOldest() {
  int oldest = -1;
  for (const auto& [fd, client] : clients_) {
    if (oldest < 0 || client.order < clients_.at(oldest).order) oldest = fd;
  }
  Drop(oldest);
}

}  // namespace millrace
