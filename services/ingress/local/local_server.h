// The local lane's protocol server: clients on this machine that share memory with ingress.
//
// Purpose: accepts clients on a Unix SEQPACKET socket, looks who they are, and drives one LocalPeer
//   for each. Who may call: the lane's thread. Ownership: owns the peers; the listening socket is
//   the keeper's.
// Invariants:
//   1. Only root, this process's user and the configured users get past accept.
//   2. The lane's parking word is armed before it sleeps, then every link is looked at once more; a
//      client that finds it armed sends a packet, which ends the sleep.
//   3. A peer is dropped only when none of its requests is in flight.
// What fails: Create without descriptors; a client, alone.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "services/ingress/local/local_peer.h"

namespace millrace {

class LocalServer {
 public:
  static absl::StatusOr<std::unique_ptr<LocalServer>> Create(Frontend* frontend,
                                                             const LocalOptions& options,
                                                             int listening_fd, int wake_fd);

  size_t Poll();
  // Sleeps at most so long. False: only time passed.
  bool Block(int64_t max_ns);
  void Drain();
  // Accepts nobody more; clients are told to connect again, and served until they have.
  void Move();
  // After Drain: nothing is in flight. After Move alone: every client has gone.
  bool drained() const;

  size_t clients() const { return peers_.size(); }
  size_t in_flight() const;
  uint64_t memory_left() const { return shared_.memory_left; }

 private:
  // Turns between two looks at the sockets while there is work.
  static constexpr uint32_t kTurnsPerLook = 32;
  static constexpr uint32_t kTurnsPerSweep = 4096;
  static constexpr int kAccepts = 16;

  LocalServer() = default;
  size_t LookAtSockets(int timeout_ms);
  void Accept();
  void Admit(Fd socket);
  bool Watch(int fd, uint64_t key);
  void Sweep();

  LocalShared shared_;
  ParkWord<Hardware> park_;
  int listening_fd_ = -1;
  Fd epoll_;
  Fd spare_;  // given up to refuse a client when no other descriptor is left
  uint64_t next_key_ = 2;
  uint32_t turns_ = 0;
  struct Entry {
    uint64_t key;
    std::unique_ptr<LocalPeer> peer;
  };
  std::vector<Entry> peers_;
  bool moving_ = false;
};

}  // namespace millrace
