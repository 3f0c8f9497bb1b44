// Fuzz target: what a local client writes into its shared memory.
//
// Each input is one message and the bytes of the arena's blocks, as in the corpus. The word of the
// message that is no part of it says how else the client breaks the rules: byte 0 is added to the
// slot's sequence, byte 1 to the count of answers taken, byte 2 names a word of the returned blocks
// that is overwritten, byte 3 says how often more the message is sent.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "common/check.h"
#include "ipc/link.h"
#include "ipc/memfd.h"
#include "ipc/testing/must.h"
#include "services/ingress/local/local_rig.h"

namespace millrace {
namespace {

constexpr uint64_t kId = 0x1D;

// A client with regions of its own whose every word can be written.
class Client {
 public:
  explicit Client(const std::string& path) : raw_(path) {
    raw_.MakeRegions();
    const uint32_t slots = raw_.slot_count;
    their_slots_ =
        Must(Region::Open(raw_.fds[0].get(), kSlotsType, kServerEnd, SlotsRegionBytes(slots)));
    raw_.returns = Must(Region::Create(kReturnsType, kClientEnd, ReturnsRegionBytes(slots)));
    words()->producer = kServerEnd;
    words()->slot_count = slots;
    answers_.emplace(their_slots_.as<const SlotsRegion>()->slots, &words()->taken, words()->returns,
                     slots);
    raw_.HandOver({raw_.slots.fd().get(), raw_.returns.fd().get(), raw_.arena.fd().get(),
                   raw_.words.fd().get()});
    MR_CHECK(PacketReader(raw_.Next()).type() == PacketType::kReady, "ready");
    PacketWriter open(PacketType::kOpen, 7);
    open.Text("plain");
    open.Text("");
    SendPacket(raw_.socket.get(), open.bytes());
    MR_CHECK(PacketReader(raw_.Next()).type() == PacketType::kOpened, "opened");
  }

  void FillBlocks(const uint8_t* data, size_t size) {
    const size_t room = raw_.arena.size() - kLineBytes;
    size = std::min(size, room);
    memcpy(raw_.At(kLineBytes), data, size);
    memset(raw_.At(kLineBytes) + size, 0, room - size);
  }

  // The lane looks by itself here: no packet says that something is there.
  void Publish(const Message& message, uint32_t jump) {
    LinkSlot<Hardware>& slot = raw_.slots.as<SlotsRegion>()->slots[next_ % raw_.slot_count];
    Hardware::Write(&slot.body, message);
    // release: meets the acquire in ConsumerEnd::Take.
    slot.seq.store(static_cast<uint32_t>(++next_) + jump, std::memory_order_release);
  }

  void LieAboutTaken(uint64_t more) {
    // relaxed: both ends are on this thread.
    words()->taken.fetch_add(more, std::memory_order_relaxed);
  }
  void LieAboutReturns(uint32_t place, uint64_t word) {
    // relaxed: both ends are on this thread.
    words()->returns[place % raw_.slot_count].store(word, std::memory_order_relaxed);
  }

  // How many there were; each belongs to a request of kId and lies in the server's region.
  size_t TakeAnswers() {
    size_t count = 0;
    Message answer;
    while (answers_->Take(&answer) == LinkResult::kOk) {
      ++count;
      MR_CHECK(answer.id == kId, "an answer is one to a request");
      if (answer.kind == MessageKind::kInline) {
        MR_CHECK(answer.code <= kInlineBytes, "an answer is as long as it says");
      } else if (answer.HasBlock()) {
        MR_CHECK(raw_.their_arena.Get(answer.block).has_value(), "an answer has a block");
        answers_->Return(answer.block.offset);
      }
    }
    if (count > 0) answers_->PublishCredits();
    return count;
  }

 private:
  ReturnsRegion* words() { return raw_.returns.as<ReturnsRegion>(); }

  RawClient raw_;
  Region their_slots_;
  std::optional<ConsumerEnd<Hardware>> answers_;
  uint64_t next_ = 0;
};

FakeAnswer Echo(const FakeRequest& request) {
  if (request.inputs.empty()) {
    return {absl::InvalidArgumentError("inputs: none given"), "", "", {}};
  }
  FakeTensor tensor = request.inputs[0];
  tensor.name = "prediction";
  return {absl::OkStatus(), request.model, "2", {tensor}};
}

class Target {
 public:
  Target() {
    rig_.Do([](FakeFrontend& frontend, LocalServer&) { frontend.set_answerer(Echo); });
  }

  void Feed(const uint8_t* data, size_t size) {
    if (client_ == nullptr) client_ = std::make_unique<Client>(rig_.path());
    Message message;
    const size_t head = std::min(size, sizeof message);
    memcpy(&message, data, head);
    client_->FillBlocks(data + head, size - head);
    uint8_t lies[4];
    memcpy(lies, &message.slot_seq, sizeof lies);
    message.id = kId;
    bool keep = lies[0] == 0 && lies[1] == 0 && lies[2] == 0;
    rig_.Do([&](FakeFrontend& frontend, LocalServer& server) {
      if (lies[1] != 0) client_->LieAboutTaken(lies[1]);
      if (lies[2] != 0) client_->LieAboutReturns(lies[2], message.times);
      const size_t asked = size_t{1} + lies[3];
      size_t answered = 0;
      for (size_t i = 0; i < asked && server.clients() == 1; ++i) {
        client_->Publish(message, lies[0]);
        server.Poll();
        answered += client_->TakeAnswers();
      }
      const bool cut = server.clients() == 0;
      MR_CHECK(server.in_flight() == 0, "what is answered at once is not in flight");
      MR_CHECK(!keep || cut || message.kind == MessageKind::kError || answered == asked,
               "a request is answered, or its client cut off");
      keep = keep && !cut;
      frontend.Forget();
    });
    if (keep) return;
    client_.reset();
    rig_.WaitUntil([](FakeFrontend&, LocalServer& server) {
      return server.clients() == 0 && server.memory_left() == LocalOptions().memory_bytes;
    });
  }

 private:
  LocalRig rig_;
  std::unique_ptr<Client> client_;
};

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static millrace::Target target;
  target.Feed(data, size);
  return 0;
}
