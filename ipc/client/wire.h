// What a local client and ingress say to each other over their socket, and what they share.
//
// Purpose: the packets of the Unix SEQPACKET socket, and the regions that both ends hand over.
//   Requests and answers do not travel here but in two links (ipc/link.h): the socket opens models,
//   wakes, and tells that the other end has died.
// Who may call: the client library and ingress's local lane; one thread for each socket.
// The order of packets: Hello; Welcome with four descriptors (slots, returns, arena, words);
// Regions
//   with the client's four; Ready. Then the client sends Open, the server answers Opened or
//   Refused with the tag of the question; both send Wake. Refused instead of Welcome or Ready
//   ends the connection.
// Invariants:
//   1. Every field is little-endian, every text has its length before it; a reader that passes the
//      end says so once (ok) and gives zeros.
//   2. A packet that is sent never blocks; descriptors that come unasked are closed.
// What fails: Send with false; Receive as Received says.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "common/trace_context.h"
#include "ipc/arena.h"
#include "ipc/fd.h"
#include "ipc/link.h"
#include "ipc/memfd.h"
#include "ipc/message.h"

namespace millrace {

inline constexpr uint32_t kLocalMagic = 0x4c434c4d;  // "MLCL"
inline constexpr uint32_t kLocalVersion = 1;
// What the two ends of a connection are called in their regions' headers.
inline constexpr uint32_t kClientEnd = 1;
inline constexpr uint32_t kServerEnd = 2;
inline constexpr size_t kMaxPacketBytes = 60'000;
inline constexpr size_t kLocalRegions = 4;  // slots, returns, arena, words
inline constexpr size_t kMaxLocalNames = 256;

// The word by which an end is woken. The server's is one for all its clients.
struct LocalWords {
  RegionHeader header;
  alignas(kLineBytes) std::atomic<uint64_t> parked;
  // The server's: not 0 once it wants its clients to connect again, to another process. A server
  // that has no such word leaves it 0.
  std::atomic<uint32_t> moving;
};
inline constexpr RegionType kLocalWordsType = {
    RegionKind::kLocalWords, LayoutHash({sizeof(LocalWords), offsetof(LocalWords, parked)})};
inline constexpr uint64_t kLocalLayout =
    LayoutHash({kSlotsType.layout_hash, kReturnsType.layout_hash, kArenaType.layout_hash,
                kLocalWordsType.layout_hash});

enum class PacketType : uint32_t {
  kHello = 1,    // magic, version, layout u64, reply_bytes u64
  kWelcome = 2,  // version, slots, in_flight, request_bytes u64, region_bytes u64
  kRegions = 3,
  kReady = 4,
  kOpen = 5,     // name, version
  kOpened = 6,   // handle, a signature
  kRefused = 7,  // code, sentence
  kWake = 8,
};

// In a request's message: `route` is the handle; `id` is the client's, and comes back; `origin`
// holds the priority in the low 8 bits and above it which outputs are wanted, a bit for each place
// in the signature (0: all). A message of kind kError, without a block, takes the request with this
// `id` back. In an answer's `origin` stands the version that answered.
// A request of kind kData may name its client's trace: `flags` then has kLocalTraced, and
// kLocalSampled if it is sampled; trace and span stand in the payload behind the block's reference.
// A server or a client that knows nothing of it neither looks nor writes there.
inline constexpr uint8_t kLocalTraced = 2, kLocalSampled = 4;
inline constexpr int kLocalPriorityBits = 8;
inline constexpr size_t kMaxLocalOutputs = 24;

// One packet as it is written.
class PacketWriter {
 public:
  PacketWriter(PacketType type, uint32_t tag) {
    U32(static_cast<uint32_t>(type));
    U32(tag);
  }
  void U32(uint32_t value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void U64(uint64_t value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void Text(std::string_view text) {
    U32(static_cast<uint32_t>(text.size()));
    bytes_.append(text);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// One packet as it is read; the bytes are the caller's.
class PacketReader {
 public:
  explicit PacketReader(std::string_view bytes) : left_(bytes) {
    type_ = static_cast<PacketType>(U32());
    tag_ = U32();
  }
  PacketType type() const { return type_; }
  uint32_t tag() const { return tag_; }
  uint32_t U32() { return Number<uint32_t>(); }
  uint64_t U64() { return Number<uint64_t>(); }
  std::string_view Text();
  bool ok() const { return ok_; }

 private:
  template <typename T>
  T Number();

  std::string_view left_;
  bool ok_ = true;
  PacketType type_;
  uint32_t tag_;
};

// Of a request of kind kData.
void PutTrace(const TraceContext& trace, Message* message);
// Whether it names a trace, and what the other end wrote there: that need not be a valid one.
inline bool IsTraced(const Message& message) {
  return message.kind == MessageKind::kData && (message.flags & kLocalTraced) != 0;
}
TraceContext TraceOf(const Message& message);

enum class Received { kPacket, kNothing, kEnd };

// Never blocks. False: the socket is full or gone.
bool SendPacket(int socket, std::string_view bytes, const std::vector<int>& fds = {});
// Never blocks. `buffer` holds kMaxPacketBytes; a longer packet, or one with more than
// kLocalRegions descriptors, ends the connection.
Received ReceivePacket(int socket, std::vector<char>* buffer, std::string_view* packet,
                       std::vector<Fd>* fds);
// Whatever wakes the other end: a full socket does already.
void SendWake(int socket);

}  // namespace millrace
