// Where a server is, as what a socket can be connected to.
//
// Purpose: both HTTP clients of the tools. Who may call: any thread. What fails: an error code, for
//   a name that is not known, a path that is too long, an address without a port.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <string>
#include <vector>

namespace millrace {

// `address`: host:port, [v6]:port or unix:/path. None, with `*error`, where it names nothing.
std::vector<boost::asio::generic::stream_protocol::endpoint> ResolveEndpoints(
    boost::asio::io_context* io, const std::string& address, boost::system::error_code* error);

// The host alone, as a certificate names it; "localhost" for a Unix socket.
std::string HostName(const std::string& address);
// What the header Host says.
std::string HostHeader(const std::string& address);

}  // namespace millrace
