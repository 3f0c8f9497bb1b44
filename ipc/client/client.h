// The local client, as C++: what stands behind ipc/client/millrace_client.h.
//
// Purpose: both links to ingress's local lane, the places of requests, the wait for answers.
// Who may call: one thread at a time. Ownership: LocalClient owns socket, regions, models and
//   requests; views of answers lie in the server's region, mapped until the client ends.
// Invariants:
//   1. A place is free, begun, in flight or ended. An answer counts for a place in flight and its
//      use of that place, once; one for a place that was let go meanwhile only frees it.
//   2. At most places() requests are not free, so that neither ring nor the server's arena can be
//      filled by a client that keeps the contract.
//   3. Once the connection has failed nothing more is read from the server's memory but outputs
//      that were checked before; everything in flight has ended with UNAVAILABLE.
// What fails: what the header for C says, as absl::Status.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/arena.h"
#include "ipc/client/millrace_client.h"
#include "ipc/client/wire.h"
#include "ipc/idler.h"
#include "ipc/parking_shm.h"
#include "ipc/tensor_pack.h"

namespace millrace {
class LocalClient;
}

struct mr_model {
  struct Tensor {
    std::string name;
    millrace::DataType datatype = millrace::DataType::kInvalid;
    bool column = false;
    std::vector<int64_t> dims;
    uint32_t columns = 1;  // product of dims
  };
  uint16_t handle = 0;
  uint32_t max_rows = 0;
  std::vector<Tensor> inputs, outputs;
  // Of the one that the program has (moving_client.h).
  mr_model* moved = nullptr;  // the same one over the current connection; null: it is this
  std::string changed;        // why it is of no use any more
};

struct mr_request {
  enum class State : uint8_t { kFree, kBegun, kInFlight, kEnded };
  State state = State::kFree;
  bool let_go = false;  // released while in flight
  bool cancel = false;  // wanted, not sent yet
  millrace::LocalClient* owner = nullptr;
  uint16_t place = 0;
  uint32_t use = 0;
  const mr_model* model = nullptr;
  millrace::BlockRef block;
  std::vector<std::pair<std::byte*, uint64_t>> inputs;
  void* user = nullptr;
  int code = 0;
  uint32_t version = 0;
  std::string error;
  millrace::Message answer;
  std::vector<millrace::PackTensor> results;
  uint64_t rows = 0;
};

namespace millrace {

class LocalClient {
 public:
  static absl::StatusOr<std::unique_ptr<LocalClient>> Connect(const std::string& path,
                                                              const mr_options& options);

  absl::StatusOr<mr_model*> OpenModel(const std::string& name, const std::string& version);
  absl::StatusOr<mr_request*> Begin(mr_model* model, uint32_t rows,
                                    absl::Span<const mr_input> inputs);
  absl::Status Submit(mr_request* request, const mr_submit_options& options);
  void Flush();
  size_t Wait(mr_request** ended, size_t most, int64_t timeout_ns);
  void Cancel(mr_request* request);
  int Infer(mr_request* request, const mr_submit_options& options);
  void Release(mr_request* request);

  // The server wants us to connect again; also true once it has ended after that.
  bool Moving() const;
  size_t held() const { return requests_.size() - free_.size(); }  // begun and not released
  size_t in_flight() const { return in_flight_; }
  std::vector<std::unique_ptr<mr_model>> TakeModels() { return std::exchange(models_, {}); }

  bool connected() const { return why_.ok(); }
  const absl::Status& why() const { return why_; }
  size_t places() const { return requests_.size(); }
  std::string& error() { return error_; }

 private:
  LocalClient() = default;
  absl::Status Handshake(const mr_options& options);
  absl::Status TakeWelcome(PacketReader* welcome, const std::vector<Fd>& fds,
                           const mr_options& options);
  absl::Status MakeEnds(uint64_t slots, uint64_t request_bytes, uint64_t region_bytes,
                        const mr_options& options);
  // The next packet that is no wake-up, until `until_ns`.
  absl::StatusOr<std::string_view> NextPacket(int64_t until_ns);
  absl::StatusOr<std::unique_ptr<mr_model>> ReadSignature(PacketReader* packet);

  void CollectReturns();
  void ReadyTensors(const mr_model& model, uint32_t rows);
  size_t TakeAnswers();
  void End(const Message& answer);
  bool ReadResults(mr_request* request);
  void Free(mr_request* request);
  size_t Deliver(mr_request** ended, size_t most);
  void SendCancels();
  void SleepUntil(int64_t until_ns);
  void ReadSocket();
  void Fail(const absl::Status& why);

  Fd socket_;
  int64_t timeout_ns_ = 0;
  WaitMode mode_ = WaitMode::kYield;
  absl::Status why_;  // OK while connected
  std::string error_;
  std::vector<char> buffer_;

  std::optional<LinkProducer> out_;
  std::optional<LinkConsumer> in_;
  std::optional<Arena> arena_;
  Region words_, their_words_;
  ParkWord<Hardware> park_;
  WakeGate<Hardware> gate_;
  ArenaView their_arena_;
  Idler idler_;

  std::vector<std::unique_ptr<mr_model>> models_;
  std::vector<mr_request> requests_;
  std::vector<uint16_t> free_;
  std::vector<mr_request*> ended_;  // in order of their ends; delivered from `next_ended_` on
  size_t next_ended_ = 0;
  std::vector<mr_input> ready_;     // scratch
  std::vector<uint32_t> returned_;  // scratch
  size_t in_flight_ = 0;
  size_t unflushed_ = 0;
  size_t cancels_ = 0;
  uint32_t tag_ = 0;
  uint32_t idle_looks_ = 0;
};

}  // namespace millrace
