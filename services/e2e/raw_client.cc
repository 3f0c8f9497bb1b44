#include "services/e2e/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/check.h"

namespace millrace {
namespace {

// HPACK: a header that stands in no table, and is to stand in none.
void AppendLiteral(std::string_view name, std::string_view value, std::string* out) {
  MR_CHECK(name.size() < 127 && value.size() < 127, "lengths of one byte");
  out->push_back('\0');
  out->push_back(static_cast<char>(name.size()));
  out->append(name);
  out->push_back(static_cast<char>(value.size()));
  out->append(value);
}

std::string Exchange(const std::string& address, const std::string& text) {
  const int fd = ConnectTo(address);
  MR_CHECK(send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()),
           "a request fits");
  std::string answer;
  char buffer[4096];
  ssize_t bytes;
  while ((bytes = recv(fd, buffer, sizeof buffer, 0)) > 0) {
    answer.append(buffer, static_cast<size_t>(bytes));
  }
  close(fd);
  return answer;
}

}  // namespace

int ConnectTo(const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  MR_CHECK(inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) == 1, "an address");
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  MR_CHECK(fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0,
           "a server is there");
  return fd;
}

std::string HttpGet(const std::string& address, const std::string& target) {
  const std::string answer = Exchange(
      address, "GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

std::string HttpPost(const std::string& address, const std::string& target,
                     const std::string& body) {
  return Exchange(address, "POST " + target +
                               " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                               "Content-Length: " +
                               std::to_string(body.size()) + "\r\n\r\n" + body);
}

std::string Http2Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame.push_back(static_cast<char>(payload.size() >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame.append(payload);
}

std::string Http2Preface() { return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Http2Frame(4, 0, 0, ""); }

std::string Http2CallHeader(uint32_t stream, std::string_view path) {
  std::string header = "\x83\x86";  // :method POST, :scheme http
  AppendLiteral(":path", path, &header);
  AppendLiteral(":authority", "localhost", &header);
  AppendLiteral("te", "trailers", &header);
  AppendLiteral("content-type", "application/grpc", &header);
  constexpr uint8_t kHeaders = 1, kEndHeaders = 4;
  return Http2Frame(kHeaders, kEndHeaders, stream, header);
}

std::string Http2Reset(uint32_t stream) {
  using namespace std::literals;
  return Http2Frame(3, 0, stream, "\0\0\0\x08"sv);  // CANCEL
}

}  // namespace millrace
