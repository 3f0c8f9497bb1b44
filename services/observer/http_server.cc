#include "services/observer/http_server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/log.h"

namespace millrace {
namespace {

namespace http = boost::beast::http;

constexpr size_t kMaxHeader = 16 << 10;
constexpr size_t kChunk = 4096;
constexpr int kBacklog = 64;
constexpr mode_t kUnixMask = 0117;  // for this user and group

absl::Status CannotListen(const std::string& address) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", strerror(errno)));
}

bool Bind(Fd* listener, int family, const sockaddr* name, socklen_t size) {
  *listener = Fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  return setsockopt(listener->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
         bind(listener->get(), name, size) == 0 && listen(listener->get(), kBacklog) == 0;
}

bool BindUnix(Fd* listener, const std::string& path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.sun_path) return false;
  memcpy(name.sun_path, path.data(), path.size());
  const auto* generic = reinterpret_cast<const sockaddr*>(&name);
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // Left by an observer that was killed.
  if (connect(probe.get(), generic, sizeof name) != 0 && errno == ECONNREFUSED) {
    unlink(path.c_str());
  }
  const mode_t before = umask(kUnixMask);
  const bool bound = Bind(listener, AF_UNIX, generic, sizeof name);
  umask(before);
  return bound;
}

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

using Parser = http::request_parser<http::empty_body>;

// Reads one request. `kept`: bytes that were read beyond the one before, and beyond this one.
bool ReadRequest(int fd, std::string* kept, Parser* parser) {
  std::array<char, kChunk> chunk;
  while (true) {
    if (!kept->empty()) {
      boost::beast::error_code error;
      const size_t used = parser->put(boost::asio::buffer(*kept), error);
      kept->erase(0, used);
      if (error && error != http::error::need_more) return false;
      if (parser->is_done()) return true;
    }
    const ssize_t got = recv(fd, chunk.data(), chunk.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || kept->size() > kMaxHeader) return false;
    kept->append(chunk.data(), static_cast<size_t>(got));
  }
}

}  // namespace

absl::StatusOr<std::string> HttpServer::Listen(const std::string& address) {
  constexpr std::string_view kUnix = "unix:";
  if (address.rfind(kUnix, 0) == 0) {
    if (!BindUnix(&listener_, address.substr(kUnix.size()))) return CannotListen(address);
    return address;
  }
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return absl::InvalidArgumentError(address + ": no port");
  const std::string shown = address.substr(0, colon), port = address.substr(colon + 1);
  std::string host = shown;
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found)) {
    return absl::InvalidArgumentError(absl::StrCat(address, ": ", gai_strerror(error)));
  }
  const bool bound = Bind(&listener_, found->ai_family, found->ai_addr, found->ai_addrlen);
  const absl::Status failed = bound ? absl::OkStatus() : CannotListen(address);
  freeaddrinfo(found);
  if (!bound) return failed;
  sockaddr_in6 name = {};  // the port lies at the same place in both families
  socklen_t size = sizeof name;
  getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &size);
  return absl::StrCat(shown, ":", ntohs(name.sin6_port));
}

void HttpServer::Start() {
  for (int i = 0; i < kConnections; ++i) std::thread([this] { Accept(); }).detach();
}

void HttpServer::Accept() {
  while (true) {
    const Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket.valid()) {
      usleep(10'000);  // no descriptor left, or a client that went
      continue;
    }
    const timeval patience = {kPatienceMs / 1000, 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    Serve(socket);
  }
}

void HttpServer::Serve(const Fd& socket) const {
  std::string kept;
  for (bool alive = true; alive;) {
    Parser parser;
    parser.header_limit(kMaxHeader);
    parser.body_limit(0);
    if (!ReadRequest(socket.get(), &kept, &parser)) return;
    const auto& message = parser.get();
    const bool head = message.method() == http::verb::head;
    HttpReply reply;
    if (message.method() != http::verb::get && !head) {
      reply = {405, "text/plain; charset=utf-8", "only GET and HEAD\n"};
    } else {
      const std::string target(message.target().data(), message.target().size());
      const size_t mark = std::min(target.find('?'), target.size());
      const auto host = message[http::field::host];
      reply = Answer({target.substr(0, mark), target.substr(std::min(mark + 1, target.size())),
                      std::string(host.data(), host.size())});
    }
    alive = message.keep_alive() && reply.status < 400 && !reply.close;
    const auto reason = http::obsolete_reason(static_cast<http::status>(reply.status));
    const std::string header = absl::StrCat(
        "HTTP/1.1 ", reply.status, " ", absl::string_view(reason.data(), reason.size()),
        "\r\nContent-Type: ", reply.content_type, "\r\nContent-Length: ", reply.body.size(),
        "\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n", reply.headers,
        "Connection: ", alive ? "keep-alive" : "close", "\r\n\r\n");
    if (!SendAll(socket.get(), header) || (!head && !SendAll(socket.get(), reply.body))) return;
  }
}

HttpReply HttpServer::Answer(const HttpRequest& request) const {
  const auto handler = handlers_.find(request.target);
  if (handler == handlers_.end()) {
    return {404, "text/plain; charset=utf-8", "there is nothing here; see / and /metrics\n"};
  }
  return handler->second(request);
}

}  // namespace millrace
