// A small HTTP/1.1 server for what the observer shows.
//
// Purpose: a few pages for a few readers: Prometheus, an operator. Not on any path of requests.
// Who may call: Listen and Start once each; handlers are called on the server's threads, several at
//   a time.
// Ownership: owns its socket and threads until the process ends.
// Invariants:
//   1. Bounded: kConnections at a time (others wait in the backlog), 16 KiB of header, no body, and
//      kPatienceMs for each read and write.
//   2. A request that is not understood, too large or too slow ends its connection and no other.
// What fails: Listen, with the address and why.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

struct HttpRequest {
  std::string target;  // the path, without what follows '?'
  std::string query;
  std::string host{};  // as the client named this server; empty: it did not
};

struct HttpReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::string headers{};  // more of them, each with its end
  bool close = false;     // after it: a page that asks again and again shall hold no thread
};

class HttpServer {
 public:
  static constexpr int kConnections = 8;
  static constexpr int kPatienceMs = 5'000;

  using Handler = std::function<HttpReply(const HttpRequest&)>;

  // By path; before Start.
  void Handle(const std::string& path, Handler handler) { handlers_[path] = std::move(handler); }
  // "host:port" or "unix:/path". The address with the port that was taken.
  absl::StatusOr<std::string> Listen(const std::string& address);
  // Threads that live as long as the process, as `this` must.
  void Start();

 private:
  void Accept();
  void Serve(const Fd& socket) const;
  HttpReply Answer(const HttpRequest& request) const;

  std::map<std::string, Handler> handlers_;
  Fd listener_;
};

}  // namespace millrace
