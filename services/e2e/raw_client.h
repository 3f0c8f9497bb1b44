// Clients that speak no library's language: sockets, and the bytes that a test puts on them.
//
// Purpose: what no well-behaved client does. Who may call: the test's thread.
// What fails: a connection that cannot be had aborts (the test has failed).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <string_view>

namespace millrace {

// A connected socket. `address`: 127.0.0.1:PORT.
int ConnectTo(const std::string& address);

// The body of the answer to a GET on a connection of its own.
std::string HttpGet(const std::string& address, const std::string& target);
// The whole answer to a POST.
std::string HttpPost(const std::string& address, const std::string& target,
                     const std::string& body);

// Frames of HTTP/2, for a connection that begins and resets calls of gRPC.
std::string Http2Preface();
std::string Http2Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
// The header of a gRPC call of `path`.
std::string Http2CallHeader(uint32_t stream, std::string_view path);
std::string Http2Reset(uint32_t stream);

}  // namespace millrace
