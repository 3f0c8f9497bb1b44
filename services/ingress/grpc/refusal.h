// What a client over the cap on connections is told, before its socket is closed.
//
// Purpose: HTTP/2's own words: settings, then GOAWAY with ENHANCE_YOUR_CALM, by which gRPC's
//   clients know that nothing was begun: they try again until the deadline, or say UNAVAILABLE. A
//   client that speaks TLS would take them for noise and is told nothing.
// Who may call: any thread; it does not block. Ownership: closes `fd`. Nothing fails: it is a
//   courtesy, which a new socket's buffer takes.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <string_view>

namespace millrace {

inline void RefuseConnection(int fd, bool tls) {
  using namespace std::literals;
  constexpr std::string_view kWords =
      // Frames: length (3 bytes), type, flags, stream (4 bytes). Settings (4), with none.
      "\0\0\0\x04\0\0\0\0\0"
      // GOAWAY (7): last stream 0, code 11, and for people what it means.
      "\0\0\x1c\x07\0\0\0\0\0"
      "\0\0\0\0\0\0\0\x0b"
      "too many connections"sv;
  if (!tls) {
    [[maybe_unused]] const ssize_t sent =
        send(fd, kWords.data(), kWords.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    // With unread bytes in it the close would take back what was said.
    char unread[256];
    while (recv(fd, unread, sizeof unread, MSG_DONTWAIT) > 0) {
    }
  }
  close(fd);
}

}  // namespace millrace
