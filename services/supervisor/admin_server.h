// The admin socket: one line of JSON in, one line of JSON out.
//
// Purpose: `millrace status`, `scale` and scripts talk to the supervisor without a protocol
// library. Who may call: the supervisor's main thread; everything happens in its loop. Ownership:
// owns its
//   socket and its clients' and removes the socket's file at its end.
// Invariants:
//   1. Only the server's own user and root are listened to: mode 0600, and the peer's credentials.
//   2. A client that neither sends nor reads holds up nobody: nothing blocks, lines, replies and
//      the number of clients are bounded, and the oldest client makes room for a new one.
//   3. The socket's file is replaced in one step: whoever connects finds this server or the one
//   before. It is removed at the end only if it is still this one's.
// What fails: Listen, where the path cannot be had.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "services/supervisor/event_loop.h"

namespace millrace {

class AdminServer {
 public:
  // The reply to a line that came at `asked_ns`; nothing: not yet, ask again at the next Retry.
  using Handler =
      std::function<std::optional<std::string>(const std::string& line, int64_t asked_ns)>;

  // `take_over`: also from a server that answers there.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Listen(EventLoop* loop,
                                                             const std::string& path,
                                                             Handler handler,
                                                             bool take_over = false);
  ~AdminServer();

  // Asks the handler again for every line that is not answered.
  void Retry();
  // Of the client whose line the handler has now.
  uid_t asker() const { return asker_; }

 private:
  struct Client {
    Fd socket;
    uid_t user = 0;
    uint64_t order = 0;
    std::string in;
    std::string out;
    std::string waiting;  // a line without a reply; empty: none
    int64_t asked_ns = 0;
    bool ended = false;  // it will send no more, and may still read
  };

  AdminServer(EventLoop* loop, std::string path, Handler handler, Fd socket);
  bool IsOurs() const;
  void OnConnection();
  void OnClient(int fd, uint32_t events);
  // Both false: the client must go.
  bool Answer(Client* client);
  bool Flush(Client* client);
  void Drop(int fd);
  void DropOldest();

  EventLoop* const loop_;
  const std::string path_;
  const Handler handler_;
  Fd socket_;
  uint64_t inode_ = 0;  // of the file
  uint64_t next_order_ = 1;
  uid_t asker_ = 0;
  std::map<int, Client> clients_;
};

}  // namespace millrace
