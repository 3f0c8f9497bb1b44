// A raw HTTP client and a server on one thread, for tests.
//
// Purpose: bytes in, bytes out, with the server's loop turned by hand between them, so that a test
//   decides what has arrived when. Who may call: the test's thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/ingress/http/http_server.h"
#include "services/ingress/testing/fake_frontend.h"

namespace millrace::http {

// One response as it came.
struct Response {
  int code = 0;
  std::string head;  // status line and fields, lower-cased
  std::string body;
  bool Has(std::string_view field) const { return head.find(field) != std::string::npos; }
};

class TestServer {
 public:
  // `frontend`: one that outlives this object, where the own one will not do.
  explicit TestServer(const HttpOptions& options = {}, bool unix_socket = false, int wake_fd = -1,
                      FakeFrontend* frontend = nullptr);
  ~TestServer();

  FakeFrontend& frontend() { return *frontend_; }
  HttpServer& server() { return *server_; }

  // A new connection, not yet accepted; the test closes it.
  int Connect();
  // Turns server and frontend until nothing more happens.
  void Settle();
  // Sends all of `text`, settling as the socket fills.
  void Send(int fd, std::string_view text);
  // The next response on this connection, settling until it is there; code 0 where the connection
  // ended or 10 seconds passed first.
  Response Receive(int fd, bool head_request = false);
  Response Exchange(int fd, std::string_view text);
  // Whether the server ends the connection within `most_ms`.
  bool Ends(int fd, int most_ms = 10'000);
  // What has arrived and no Receive has taken.
  std::string& unread(int fd) { return unread_[fd]; }

 private:
  bool Pull(int fd);  // false at the end of the stream

  FakeFrontend own_frontend_;
  FakeFrontend* frontend_;
  int listening_fd_ = -1;
  std::string path_;  // of a Unix socket
  std::unique_ptr<HttpServer> server_;
  std::map<int, std::string> unread_;
  std::map<int, bool> ended_;
};

std::string Post(std::string_view path, std::string_view body, std::string_view fields = "");

// A request to "plain": one row.
inline constexpr std::string_view kPlainBody =
    R"({"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1,2,3.5]}]})";
inline constexpr std::string_view kPlainAnswer =
    R"({"model_name":"plain","model_version":"1","outputs":[)"
    R"({"name":"input","datatype":"FP32","shape":[1,3],"data":[1,2,3.5]}]})";

}  // namespace millrace::http
