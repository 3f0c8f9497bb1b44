#include "tools/millrace/admin_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/clock.h"

namespace millrace {
namespace {

// A descriptor that is closed with its block.
struct Socket {
  int fd = -1;
  ~Socket() {
    if (fd >= 0) close(fd);
  }
};

absl::Status Connect(const std::string& path, Socket* out) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError("--admin-socket: a path has from 1 to 107 bytes");
  }
  memcpy(address.sun_path, path.data(), path.size());
  out->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(out->fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("no server answers on the admin socket ", path, " (",
                                             strerror(errno),
                                             "); --admin-socket names another one"));
}

absl::StatusOr<std::string> ReadLine(int fd, int64_t timeout_ms) {
  const int64_t end_ns = MonotonicNanos() + timeout_ms * kNanosPerMilli;
  std::string line;
  while (line.find('\n') == std::string::npos) {
    const int64_t left_ms = (end_ns - MonotonicNanos()) / kNanosPerMilli;
    pollfd wait = {fd, POLLIN, 0};
    if (left_ms <= 0 || poll(&wait, 1, static_cast<int>(std::min<int64_t>(left_ms, 1000))) < 0) {
      return absl::DeadlineExceededError("the server did not answer on the admin socket in time");
    }
    if (wait.revents == 0) continue;
    char text[16384];
    const ssize_t n = read(fd, text, sizeof text);
    if (n <= 0) return absl::UnavailableError("the server closed the admin socket");
    line.append(text, n);
  }
  return line;
}

}  // namespace

std::string DefaultAdminSocket() {
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  const bool set = runtime != nullptr && runtime[0] == '/';
  return std::string(set ? runtime : "/run/millrace") + "/millrace.sock";
}

absl::StatusOr<nlohmann::json> AskAdmin(const std::string& socket_path,
                                        const nlohmann::json& question, int64_t timeout_ms) {
  Socket socket;
  if (absl::Status s = Connect(socket_path, &socket); !s.ok()) return s;
  const std::string line =
      question.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (send(socket.fd, line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size())) {
    return absl::UnavailableError("the server closed the admin socket");
  }
  const absl::StatusOr<std::string> reply = ReadLine(socket.fd, timeout_ms);
  if (!reply.ok()) return reply.status();
  nlohmann::json answer = nlohmann::json::parse(*reply, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object())
    return absl::InternalError("the admin socket's answer is no JSON object");
  const auto error = answer.find("error");
  if (error != answer.end() && error->is_string()) {
    return absl::FailedPreconditionError(error->get_ref<const std::string&>());
  }
  return answer;
}

}  // namespace millrace
