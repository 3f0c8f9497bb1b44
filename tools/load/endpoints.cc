#include "tools/load/endpoints.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "absl/strings/match.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
using Endpoint = asio::generic::stream_protocol::endpoint;

constexpr char kUnix[] = "unix:";

}  // namespace

std::vector<Endpoint> ResolveEndpoints(asio::io_context* io, const std::string& address,
                                       boost::system::error_code* error) {
  if (absl::StartsWith(address, kUnix)) {
    const std::string path = address.substr(sizeof kUnix - 1);
    constexpr size_t kMaxPath = 107;
    if (path.size() <= kMaxPath) return {asio::local::stream_protocol::endpoint(path)};
    *error = asio::error::name_too_long;
    return {};
  }
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    *error = asio::error::host_not_found;
    return {};
  }
  const std::string host = HostName(address);
  std::vector<Endpoint> endpoints;
  asio::ip::tcp::resolver resolver(*io);
  for (const auto& entry : resolver.resolve(host, address.substr(colon + 1), *error)) {
    endpoints.emplace_back(entry.endpoint());
  }
  return endpoints;
}

std::string HostName(const std::string& address) {
  if (absl::StartsWith(address, kUnix)) return "localhost";
  const std::string host = address.substr(0, address.rfind(':'));
  return host.size() > 2 && host.front() == '[' ? host.substr(1, host.size() - 2) : host;
}

std::string HostHeader(const std::string& address) {
  return absl::StartsWith(address, kUnix) ? "localhost" : address;
}

}  // namespace millrace
