#include "common/otlp_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/numbers.h"

namespace millrace {
namespace {

absl::Status Fault(const char* sentence) { return absl::InvalidArgumentError(sentence); }

bool IsPort(std::string_view text) {
  int port = 0;
  return !text.empty() && text.size() <= 5 && text[0] != '+' && text[0] != '-' &&
         absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &port) && port > 0 &&
         port <= 65535;
}

// A name has other characters in it, and is looked up later.
bool IsPublicNumber(const std::string& host) {
  sockaddr_in v4 = {};
  v4.sin_family = AF_INET;
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    return !IsPrivate(*reinterpret_cast<const sockaddr*>(&v4));
  }
  sockaddr_in6 v6 = {};
  v6.sin6_family = AF_INET6;
  return inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1 &&
         !IsPrivate(*reinterpret_cast<const sockaddr*>(&v6));
}

bool IsPrivate4(uint32_t ip) {
  return ip >> 24 == 127 || ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8 ||
         ip >> 16 == 0xa9fe;
}

}  // namespace

bool IsPrivate(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    return IsPrivate4(ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  const in6_addr& ip = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&ip)) {
    return IsPrivate4(uint32_t{ip.s6_addr[12]} << 24 | uint32_t{ip.s6_addr[13]} << 16 |
                      uint32_t{ip.s6_addr[14]} << 8 | ip.s6_addr[15]);
  }
  return IN6_IS_ADDR_LOOPBACK(&ip) || IN6_IS_ADDR_LINKLOCAL(&ip) || (ip.s6_addr[0] & 0xfe) == 0xfc;
}

absl::StatusOr<OtlpEndpoint> OtlpEndpoint::Parse(std::string_view text) {
  constexpr std::string_view kHttp = "http://", kGrpc = "grpc://";
  OtlpEndpoint endpoint;
  endpoint.grpc = text.substr(0, kGrpc.size()) == kGrpc;
  if (!endpoint.grpc && text.substr(0, kHttp.size()) != kHttp) {
    return Fault("must be http://host:port/path or grpc://host:port");
  }
  text.remove_prefix(kHttp.size());
  static_assert(kHttp.size() == kGrpc.size());
  const size_t slash = std::min(text.find('/'), text.size());
  endpoint.path = text.substr(slash);
  if (endpoint.grpc && endpoint.path.size() > 1) return Fault("grpc:// has no path");
  if (endpoint.path.size() <= 1) endpoint.path = "/v1/traces";
  for (const char c : endpoint.path) {
    if (c <= ' ' || c > '~') return Fault("the path may not hold blanks");
  }
  text = text.substr(0, slash);
  const size_t bracket = text.empty() || text[0] != '[' ? 0 : text.find(']');
  if (bracket == std::string_view::npos) return Fault("an IPv6 address is written [address]:port");
  const size_t colon = std::min(text.find(':', bracket), text.size());
  endpoint.host = bracket > 0 ? text.substr(1, bracket - 1) : text.substr(0, colon);
  if (bracket > 0 && colon != bracket + 1)
    return Fault("an IPv6 address is written [address]:port");
  endpoint.port =
      colon < text.size() ? std::string(text.substr(colon + 1)) : (endpoint.grpc ? "4317" : "4318");
  if (endpoint.host.empty() || endpoint.host.find_first_of(" @?#\n") != std::string::npos) {
    return Fault("must name a host");
  }
  if (!IsPort(endpoint.port)) return Fault("the port must be a number from 1 to 65535");
  if (IsPublicNumber(endpoint.host)) {
    return Fault("must be on this machine or in a private network");
  }
  return endpoint;
}

}  // namespace millrace
