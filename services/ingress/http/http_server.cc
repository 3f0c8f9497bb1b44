#include "services/ingress/http/http_server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <exception>
#include <optional>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "services/ingress/http/connection.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/text.h"
#include "services/ingress/http/tls_files.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
using asio::generic::stream_protocol;
using boost::system::error_code;
using Acceptor = asio::basic_socket_acceptor<stream_protocol, asio::io_context::executor_type>;
using Descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;

// Events of one Poll: the lane has other work.
constexpr size_t kPollEvents = 256;
// Clients over the cap that are being told so over TLS, at a time; others are closed at once.
constexpr size_t kRefusing = 16;
constexpr int64_t kSweepNanos = 100 * kNanosPerMilli;

// The socket's address family; -1 where `fd` is not a listening stream socket.
int ListeningFamily(int fd) {
  int listens = 0;
  socklen_t size = sizeof(listens);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) return -1;
  int family = -1;
  size = sizeof(family);
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 ? family : -1;
}

int Duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }

}  // namespace

class HttpServer::Impl {
 public:
  Impl(Frontend* frontend, const HttpOptions& options, int listening_fd)
      : context_(frontend, options, ReachOf(listening_fd)) {}
  ~Impl() { MR_CHECK(context_.in_flight == 0, "the frontend still holds requests of this server"); }

  absl::Status Open(int listening_fd, int wake_fd);
  size_t Poll();
  size_t RunFor(std::chrono::nanoseconds most);
  void Drain();
  void Move();
  void CloseAll() {
    for (const auto& connection : connections_) connection->Abort();
  }

  const http::ServerContext& context() const { return context_; }
  size_t connections() const { return connections_.size() - context_.closed; }

 private:
  void Accept();
  void OnAccept(error_code error, http::Socket socket);
  void Refuse(http::Socket socket);
  // Over TLS a refusal takes a handshake, for which a few connections may be there beyond the cap.
  bool MayRefuseOverTls() const {
    return tls_ != nullptr && connections() < context_.options.max_connections + kRefusing;
  }
  void AwaitWake();
  // Runs one ready handler; an exception is a lost event, never the caller's.
  template <typename Run>
  size_t Guarded(Run run);
  void Housekeep();
  void LookAtFiles();

  http::ServerContext context_;
  std::unique_ptr<TlsFiles> tls_;  // null: plain
  // One thread runs and feeds the loop: it needs no locks.
  asio::io_context loop_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};
  asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
  Acceptor acceptor_{loop_};
  Descriptor wake_{loop_};
  int family_ = -1;
  bool accepting_ = false;
  int64_t next_sweep_ns_ = 0;
  std::vector<std::shared_ptr<http::Connection>> connections_;
};

absl::Status HttpServer::Impl::Open(int listening_fd, int wake_fd) {
  family_ = ListeningFamily(listening_fd);
  if (family_ < 0) {
    return absl::InvalidArgumentError("the HTTP descriptor is not a listening socket");
  }
  if (context_.options.tls.on()) {
    absl::StatusOr<std::unique_ptr<TlsFiles>> tls =
        TlsFiles::Load(context_.options.tls, MonotonicNanos());
    if (!tls.ok()) return tls.status();
    tls_ = *std::move(tls);
  }
  error_code error;
  const int listening = Duplicate(listening_fd);
  if (listening < 0) {
    return absl::ResourceExhaustedError(http::Concat("the HTTP socket: ", strerror(errno)));
  }
  acceptor_.assign(stream_protocol(family_, 0), listening, error);
  if (error) close(listening);
  if (error) return absl::InternalError(http::Concat("the HTTP socket: ", error.message()));
  Accept();
  if (wake_fd < 0) return absl::OkStatus();
  const int wake = Duplicate(wake_fd);
  if (wake < 0) {
    return absl::ResourceExhaustedError(http::Concat("the wake descriptor: ", strerror(errno)));
  }
  wake_.assign(wake, error);
  if (error) close(wake);
  if (!error) wake_.non_blocking(true, error);
  if (error) return absl::InternalError(http::Concat("the wake descriptor: ", error.message()));
  AwaitWake();
  return absl::OkStatus();
}

void HttpServer::Impl::AwaitWake() {
  wake_.async_wait(Descriptor::wait_read, [this](error_code error) {
    if (error) return;
    uint64_t count;
    // Non-blocking; whether somebody else was faster does not matter, only that it is empty.
    [[maybe_unused]] const ssize_t bytes = read(wake_.native_handle(), &count, sizeof(count));
    AwaitWake();
  });
}

void HttpServer::Impl::Accept() {
  accepting_ = true;
  acceptor_.async_accept(
      [this](error_code error, http::Socket socket) { OnAccept(error, std::move(socket)); });
}

void HttpServer::Impl::OnAccept(error_code error, http::Socket socket) {
  accepting_ = false;
  if (context_.draining || error == asio::error::operation_aborted) return;
  // Out of descriptors or memory: the next sweep tries again, instead of a loop at full speed.
  if (error && error != asio::error::connection_aborted) return;
  const bool full = connections() >= context_.options.max_connections;
  if (!error && full && !MayRefuseOverTls()) {
    Refuse(std::move(socket));
  } else if (!error) {
    const int on = 1;
    if (family_ != AF_UNIX) {
      setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    ++context_.counters.connections;
    LookAtFiles();
    connections_.push_back(std::make_shared<http::Connection>(
        &context_, std::move(socket), tls_ != nullptr ? &tls_->current() : nullptr));
    if (full) {
      ++context_.counters.refused_connections;
      connections_.back()->Refuse();
    }
    connections_.back()->Start();
  }
  // One that was taken off the backlog just before the move is served.
  if (!context_.moving) Accept();
}

void HttpServer::Impl::Refuse(http::Socket socket) {
  ++context_.counters.refused_connections;
  if (tls_ != nullptr) return;  // a sentence would take a handshake: see MayRefuseOverTls
  const std::string body = http::JsonError("too many connections");
  const std::string text = http::Concat(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n",
      "Retry-After: 1\r\nConnection: close\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
  // A courtesy: it fits a new socket's buffer, and nobody waits for it.
  [[maybe_unused]] const ssize_t sent =
      send(socket.native_handle(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  error_code ignored;
  socket.shutdown(http::Socket::shutdown_send, ignored);
}

void HttpServer::Impl::LookAtFiles() {
  if (tls_ == nullptr) return;
  tls_->Look(MonotonicNanos());
  context_.counters.tls_rotations = tls_->rotations();
  context_.counters.tls_faults = tls_->faults();
}

template <typename Run>
size_t HttpServer::Impl::Guarded(Run run) {
  try {
    return run();
  } catch (const std::exception&) {
    return 1;
  }
}

void HttpServer::Impl::Housekeep() {
  if (context_.closed > 0) {
    std::erase_if(connections_, [](const auto& connection) { return connection->closed(); });
    context_.closed = 0;
  }
  const int64_t now_ns = MonotonicNanos();
  if (now_ns < next_sweep_ns_) return;
  next_sweep_ns_ = now_ns + kSweepNanos;
  Guarded([this] { return LookAtFiles(), size_t{1}; });
  // Sweeping closes connections but neither adds nor erases any.
  for (const auto& connection : connections_) connection->Sweep(now_ns);
  if (!accepting_ && !context_.draining && !context_.moving)
    Guarded([this] { return Accept(), size_t{1}; });
}

size_t HttpServer::Impl::Poll() {
  size_t events = 0;
  while (events < kPollEvents && Guarded([this] { return loop_.poll_one(); }) > 0) ++events;
  Housekeep();
  return events;
}

size_t HttpServer::Impl::RunFor(std::chrono::nanoseconds most) {
  // With nobody connected and the acceptor armed no time limit runs.
  if (!connections_.empty() || !accepting_) {
    most = std::min(
        most, std::chrono::nanoseconds(std::max<int64_t>(next_sweep_ns_ - MonotonicNanos(), 0)));
  }
  size_t events = 0;
  if (most > std::chrono::nanoseconds(0)) {
    events = Guarded([&] { return loop_.run_one_for(most); });
  }
  return events + Poll();
}

void HttpServer::Impl::Drain() {
  context_.draining = true;
  error_code ignored;
  acceptor_.close(ignored);
  for (const auto& connection : connections_) connection->Drain();
}

void HttpServer::Impl::Move() {
  context_.moving = true;
  error_code ignored;
  acceptor_.close(ignored);
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  impl_->CloseAll();
  if (impl_->context().in_flight == 0) return;
  // The frontend holds completions that lie in here.
  static auto* const kept = new std::vector<std::unique_ptr<Impl>>();
  kept->push_back(std::move(impl_));
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Create(Frontend* frontend,
                                                               const HttpOptions& options,
                                                               int listening_fd, int wake_fd) {
  MR_CHECK(frontend != nullptr, "a server needs somebody to ask");
  try {
    auto impl = std::make_unique<Impl>(frontend, options, listening_fd);
    if (absl::Status status = impl->Open(listening_fd, wake_fd); !status.ok()) return status;
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
  } catch (const std::exception& fault) {
    return absl::ResourceExhaustedError(http::Concat("the HTTP event loop: ", fault.what()));
  }
}

size_t HttpServer::Poll() { return impl_->Poll(); }
size_t HttpServer::RunFor(std::chrono::nanoseconds most) { return impl_->RunFor(most); }
void HttpServer::Drain() { impl_->Drain(); }
void HttpServer::Move() { impl_->Move(); }
bool HttpServer::drained() const {
  const bool ending = impl_->context().draining || impl_->context().moving;
  return ending && impl_->connections() == 0;
}
size_t HttpServer::active_requests() const { return impl_->context().in_flight; }
size_t HttpServer::connections() const { return impl_->connections(); }
const HttpCounters& HttpServer::counters() const { return impl_->context().counters; }

}  // namespace millrace
