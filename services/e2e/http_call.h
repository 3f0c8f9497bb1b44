// HTTP requests of a test, several in flight at a time.
//
// Purpose: what the load generator does not send: single requests with headers of their own. Who
// may
//   call: the test's thread. Ownership: each call owns its connection. Invariants: 1. Begin returns
//   once the request is with the kernel. What fails: a connection that cannot be had ends the test.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace millrace {

struct HttpAnswer {
  int code = 0;  // 0: the connection ended before an answer
  std::string head;
  std::string body;

  nlohmann::json Json() const { return nlohmann::json::parse(body, nullptr, false); }
};

class HttpCall {
 public:
  // `address`: "127.0.0.1:8000"; `fields`: header lines, each with its end. Without a body: GET.
  HttpCall(const std::string& address, const std::string& path, const std::string& body,
           const std::string& fields = "");
  ~HttpCall();
  HttpCall(HttpCall&& other) noexcept : socket_(other.socket_) { other.socket_ = -1; }
  HttpCall(const HttpCall&) = delete;
  // Waits for the whole answer.
  HttpAnswer Finish();

 private:
  int socket_ = -1;
};

// A port that was free a moment ago.
int FreePort();

}  // namespace millrace
