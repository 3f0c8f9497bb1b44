#include "services/e2e/http_call.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/check.h"

namespace millrace {

HttpCall::HttpCall(const std::string& address, const std::string& path, const std::string& body,
                   const std::string& fields) {
  const size_t colon = address.rfind(':');
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(atoi(address.c_str() + colon + 1)));
  MR_CHECK(inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) == 1,
           "an address of numbers");
  socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  MR_CHECK(connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0,
           "the server takes the connection");
  const std::string request =
      (body.empty() ? "GET " : "POST ") + path + " HTTP/1.1\r\nHost: " + address +
      "\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields +
      "\r\n" + body;
  MR_CHECK(send(socket_, request.data(), request.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(request.size()),
           "a short request fits the socket");
}

HttpCall::~HttpCall() {
  if (socket_ >= 0) close(socket_);
}

namespace {

// Whether all that the header promises is there; one that promises nothing ends with its
// connection.
bool IsWhole(const std::string& text) {
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  std::string header = text.substr(0, end);
  for (char& c : header) c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
  constexpr char kLength[] = "\r\ncontent-length:";
  const size_t at = header.find(kLength);
  return at != std::string::npos &&
         text.size() - end - 4 >= strtoull(header.c_str() + at + strlen(kLength), nullptr, 10);
}

}  // namespace

HttpAnswer HttpCall::Finish() {
  std::string text;
  char buffer[4096];
  ssize_t n;
  while (!IsWhole(text) && (n = read(socket_, buffer, sizeof buffer)) > 0) text.append(buffer, n);
  HttpAnswer answer;
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) return answer;
  answer.code = atoi(text.c_str() + text.find(' ') + 1);
  answer.head = text.substr(0, end + 2);
  answer.body = text.substr(end + 4);
  return answer;
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  MR_CHECK(bind(fd, reinterpret_cast<sockaddr*>(&name), size) == 0, "a free port");
  getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size);
  close(fd);
  return ntohs(name.sin_port);
}

}  // namespace millrace
