// One local client, as ingress sees it: its socket, its regions, its requests in flight.
//
// Purpose: takes requests off the client's link, gives them to the Frontend, and writes the answers
//   into a region of ours that this client alone maps. Who may call: the lane's thread.
// Ownership: owns the socket and both ends of the links; a flight is the Frontend's from Infer to
//   Done, so a peer lives until in_flight() is 0 also after its client has gone.
// Invariants:
//   1. Nothing the client wrote is believed: regions are taken sealed and whole, each slot and each
//      pack's head is copied once and the copy checked; tensors are copied by Infer, once.
//   2. A client that breaks the rules of the shared memory is cut off, and only it; whoever asks
//      for more than a limit gets a sentence.
//   3. Nothing here can be made to wait by a client: packets and wake-ups are sent without
//   blocking,
//      and no descriptor of ours that can be written goes to a client.
//   4. After Close no memory of the client's is mapped and its requests are cancelled.
// What fails: a request, with a status in its answer; the client, by Cut.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/arena.h"
#include "ipc/client/wire.h"
#include "ipc/link.h"
#include "ipc/parking_shm.h"
#include "ipc/tensor_pack.h"
#include "services/ingress/frontend.h"

namespace millrace {

struct LocalOptions {
  size_t max_clients = 64;
  size_t in_flight = 128;                // of one client, answers it has not released included
  uint64_t memory_bytes = 256ull << 20;  // of all clients' regions and ours for them, together
  uint64_t request_bytes = 1 << 20;      // of one request's tensors
  std::vector<uid_t> uids;               // who may, beside root and this process's user
};

// What is shared by the peers of one lane.
struct LocalShared {
  Frontend* frontend = nullptr;
  LocalOptions options;
  Region words;              // the lane's parking word
  uint64_t memory_left = 0;  // of options.memory_bytes
  bool draining = false;
  std::vector<char> buffer;  // for packets
};

class LocalPeer {
 public:
  LocalPeer(LocalShared* shared, Fd socket, int64_t greet_until_ns);
  ~LocalPeer();
  LocalPeer(const LocalPeer&) = delete;
  LocalPeer& operator=(const LocalPeer&) = delete;

  // Reads the socket: handshake, models to open, wake-ups, the client's end.
  void OnSocket();
  // At most kDrain requests; how many there were.
  size_t Drain();
  // Wakes the client if it sleeps and something was published.
  void Flush();
  bool HasWork() const { return serving_ && !gone_ && requests_->HasNext(); }

  // The client ends; what it has in flight is cancelled, and all memory given back.
  void Close();

  // Its client has gone, or was cut off: to be closed.
  bool gone() const { return gone_; }
  bool closed() const { return closed_; }
  size_t in_flight() const { return flights_.size() - free_.size(); }
  bool serving() const { return serving_; }
  int64_t greet_until_ns() const { return greet_until_ns_; }
  int socket() const { return socket_.get(); }
  const char* why_cut() const { return why_cut_; }

 private:
  static constexpr int kDrain = 64;
  static constexpr size_t kAhead = 8;
  static constexpr int kPackets = 16;  // read in one turn
  static constexpr uint64_t kSlotsPerPlace = 2;

  struct Handle {
    struct Input {
      std::string name;
      std::vector<int64_t> dims;  // behind the rows
      int64_t columns = 1;        // their product
      bool column = false;
    };
    std::string model, version;
    std::vector<Input> inputs;
    std::vector<std::string> outputs;
    ModelMemo memo;
    // Of its last answer: the version, and what a message says of it.
    std::string answered_version;
    uint32_t version_number = 0;
  };
  struct Flight : Completion {
    void Done(const InferAnswer& answer) override { peer->Answer(this, answer); }
    LocalPeer* peer = nullptr;
    uint16_t place = 0;
    bool busy = false;
    uint64_t id = 0;
    RequestId request = 0;
    Handle* handle = nullptr;
  };

  void Cut(const char* why);
  void Refuse(uint32_t tag, const absl::Status& status);
  void Send(const PacketWriter& packet, const std::vector<int>& fds = {});

  void OnPacket(PacketReader* packet, const std::vector<Fd>& fds);
  absl::Status Welcome(PacketReader* hello);
  absl::Status TakeRegions(const std::vector<Fd>& fds);
  void Open(PacketReader* packet);
  void Describe(const Model& model, Handle* handle, PacketWriter* packet) const;

  void OnRequest(const Message& message);
  void Infer(Flight* flight, const Message& message, absl::Span<const std::byte> payload);
  void CancelById(uint64_t id);
  bool RoomForAnswer();
  void Answer(Flight* flight, const InferAnswer& answer);
  void AnswerError(uint64_t id, absl::StatusCode code, std::string_view sentence);
  absl::Status WriteAnswer(const Handle& handle, const InferAnswer& answer, Message* message);
  MaybeBlock Allocate(size_t bytes);
  bool CollectReturns();
  void Publish(const Message& message);

  LocalShared* shared_;
  Fd socket_;
  int64_t greet_until_ns_;
  bool greeted_ = false, serving_ = false, gone_ = false, closed_ = false;
  const char* why_cut_ = nullptr;

  std::optional<LinkConsumer> requests_;
  std::optional<LinkProducer> replies_;
  std::optional<Arena> arena_;
  ArenaView their_arena_;
  Region their_words_;
  WakeGate<Hardware> gate_;
  bool wake_pending_ = false;
  uint64_t memory_taken_ = 0;

  int64_t taken_ns_ = 0;  // when the messages in hand were taken
  std::vector<std::unique_ptr<Handle>> handles_;
  std::vector<Flight> flights_;
  std::vector<uint16_t> free_;
  std::vector<uint32_t> returned_;  // scratch
  std::vector<TensorView> inputs_;  // scratch
  std::vector<int64_t> dims_;
  std::vector<std::string_view> wanted_;
};

}  // namespace millrace
