#include "services/ingress/local/local_peer.h"

#include <string.h>
#include <sys/socket.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"

namespace millrace {
namespace {

constexpr size_t kMaxSentence = 512;

std::string_view View(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

LocalPeer::LocalPeer(LocalShared* shared, Fd socket, int64_t greet_until_ns)
    : shared_(shared), socket_(std::move(socket)), greet_until_ns_(greet_until_ns) {}

LocalPeer::~LocalPeer() { Close(); }

void LocalPeer::Cut(const char* why) {
  if (gone_) return;
  gone_ = true;
  why_cut_ = why;
}

void LocalPeer::Close() {
  if (closed_) return;
  closed_ = gone_ = true;
  for (const Flight& flight : flights_) {
    if (flight.busy && flight.request != 0) shared_->frontend->Cancel(flight.request);
  }
  shutdown(socket_.get(), SHUT_RDWR);
  socket_ = Fd();
  requests_.reset();
  replies_.reset();
  arena_.reset();
  their_arena_ = ArenaView();
  their_words_ = Region();
  shared_->memory_left += std::exchange(memory_taken_, 0);
}

void LocalPeer::Flush() {
  if (!wake_pending_ || gone_) return;
  wake_pending_ = false;
  if (gate_.ShouldWake()) SendWake(socket_.get());
}

size_t LocalPeer::Drain() {
  if (!serving_ || gone_) return 0;
  size_t count = 0;
  MessageRoom<kAhead> ahead;
  LinkResult result = LinkResult::kOk;
  while (result == LinkResult::kOk && count < kDrain && !gone_) {
    size_t taken = 0;
    while (taken < kAhead && (result = requests_->Take(&ahead[taken])) == LinkResult::kOk) {
      if (ahead[taken].HasBlock()) their_arena_.Prefetch(ahead[taken].block);
      ++taken;
    }
    count += taken;
    if (taken > 0) taken_ns_ = MonotonicNanos();
    for (size_t i = 0; i < taken && !gone_; ++i) OnRequest(ahead[i]);
  }
  if (result == LinkResult::kFault) Cut(FaultSentence(requests_->fault()));
  if (count > 0) requests_->PublishCredits();
  return count;
}

void LocalPeer::OnRequest(const Message& message) {
  if (message.kind == MessageKind::kError) return CancelById(message.id);
  if (!RoomForAnswer()) return Cut("sends more than it takes answers for");
  std::optional<absl::Span<const std::byte>> payload;
  if (message.kind == MessageKind::kInline) {
    payload = absl::Span<const std::byte>(message.payload, message.code);
  } else {
    payload = their_arena_.Get(message.block);
  }
  if (!payload.has_value() || payload->empty()) return Cut("a block lies outside its arena");
  if (shared_->draining) {
    AnswerError(message.id, absl::StatusCode::kUnavailable, "the server is stopping");
  } else if (free_.empty()) {
    AnswerError(message.id, absl::StatusCode::kResourceExhausted,
                "more requests in flight than a local client may have");
  } else if (message.route >= handles_.size()) {
    AnswerError(message.id, absl::StatusCode::kInvalidArgument, "no such model handle");
  } else {
    Flight& flight = flights_[free_.back()];
    free_.pop_back();
    flight.busy = true;
    flight.id = message.id;
    flight.request = 0;
    flight.handle = handles_[message.route].get();
    Infer(&flight, message, *payload);
  }
  if (message.HasBlock() && !gone_) requests_->Return(message.block.offset);
}

void LocalPeer::Infer(Flight* flight, const Message& message, absl::Span<const std::byte> payload) {
  Handle& handle = *flight->handle;
  PackView pack;
  absl::Status bad = PackView::OpenInto(payload, &pack);
  InferRequest request;
  request.trace.method = TraceMethod::kLocalInfer;
  if (IsTraced(message)) request.trace.parent = TraceOf(message);
  const Routed routed = shared_->frontend->Resolve({handle.model, handle.version});
  request.model = routed.model;
  request.version = routed.version;
  request.route = routed.use;
  request.memo = &handle.memo;
  request.deadline_ns = message.deadline_ns;
  request.came_ns = taken_ns_;
  request.priority = message.origin & ((1u << kLocalPriorityBits) - 1);
  inputs_.clear();
  dims_.clear();
  for (size_t i = 0; bad.ok() && i < pack.count(); ++i) {
    const PackTensor tensor = pack.tensor(i);
    if (tensor.name >= handle.inputs.size()) {
      bad = absl::InvalidArgumentError(absl::StrCat("inputs[", i, "]: no such place in the model"));
      break;
    }
    const Handle::Input& input = handle.inputs[tensor.name];
    const size_t at = dims_.size();
    dims_.push_back(pack.rows());
    // The client says only how many elements a row has; the model says how they lie.
    if (tensor.columns == input.columns) {
      dims_.insert(dims_.end(), input.dims.begin(), input.dims.end());
    } else {
      dims_.push_back(tensor.columns);
    }
    // In its place, not by a copy (ipc/copy_pieces.h).
    TensorView& view = inputs_.emplace_back();
    view.name = input.name;
    view.datatype = tensor.datatype;
    view.shape = {dims_.data() + at, dims_.size() - at};
    view.raw = View(tensor.data);
  }
  if (!bad.ok()) {
    InferAnswer answer;
    answer.status = absl::InvalidArgumentError(bad.message());
    return flight->Done(answer);
  }
  wanted_.clear();
  const uint32_t outputs = message.origin >> kLocalPriorityBits;
  for (size_t o = 0; outputs != 0 && o < handle.outputs.size(); ++o) {
    if (outputs >> o & 1) wanted_.push_back(handle.outputs[o]);
  }
  request.inputs = inputs_;
  request.outputs = wanted_;
  const RequestId id = shared_->frontend->Infer(request, flight);
  if (id != 0) flight->request = id;
}

void LocalPeer::CancelById(uint64_t id) {
  for (const Flight& flight : flights_) {
    if (!flight.busy || flight.id != id || flight.request == 0) continue;
    return shared_->frontend->Cancel(flight.request);
  }
}

// Room in the ring of answers for one more, beside all that are in flight.
bool LocalPeer::RoomForAnswer() {
  const auto room = [this] {
    return in_flight() + std::max<uint64_t>(replies_->depth(), replies_->lent()) <
           kSlotsPerPlace * flights_.size();
  };
  return room() || (CollectReturns() && room());
}

bool LocalPeer::CollectReturns() {
  returned_.clear();
  const LinkResult result = replies_->CollectReturns(&returned_);
  for (uint32_t offset : returned_) arena_->Release(offset);
  if (result == LinkResult::kFault) Cut(FaultSentence(replies_->fault()));
  return result != LinkResult::kFault;
}

MaybeBlock LocalPeer::Allocate(size_t bytes) {
  MaybeBlock block = arena_->Allocate(bytes);
  if (!block.has_value() && CollectReturns()) block = arena_->Allocate(bytes);
  return block;
}

void LocalPeer::Answer(Flight* flight, const InferAnswer& answer) {
  flight->busy = false;
  free_.push_back(flight->place);
  if (gone_) return;
  if (!answer.status.ok()) {
    return AnswerError(flight->id, answer.status.code(),
                       {answer.status.message().data(), answer.status.message().size()});
  }
  Message message;
  message.id = flight->id;
  const absl::Status written = WriteAnswer(*flight->handle, answer, &message);
  if (!written.ok()) {
    return AnswerError(flight->id, written.code(),
                       {written.message().data(), written.message().size()});
  }
  Handle& handle = *flight->handle;
  if (handle.answered_version != answer.version) {
    handle.answered_version = answer.version;
    handle.version_number = 0;  // a version that is no number
    const bool number = absl::SimpleAtoi(handle.answered_version, &handle.version_number);
    if (!number) handle.version_number = 0;
  }
  message.origin = handle.version_number;
  Publish(message);
}

absl::Status LocalPeer::WriteAnswer(const Handle& handle, const InferAnswer& answer,
                                    Message* message) {
  PackWriter pack(static_cast<uint32_t>(answer.outputs.empty() ? 0 : answer.outputs[0].shape[0]));
  size_t sources[kMaxLocalOutputs];
  size_t next = 0;  // the places come in the order of the signature, mostly
  for (size_t i = 0; i < answer.outputs.size() && pack.count() < kMaxLocalOutputs; ++i) {
    const TensorView& output = answer.outputs[i];
    size_t looked = 0;
    while (looked < handle.outputs.size() && handle.outputs[next] != output.name) {
      ++looked;
      next = next + 1 < handle.outputs.size() ? next + 1 : 0;
    }
    if (looked == handle.outputs.size()) continue;  // a later version of the model has it, too
    uint32_t columns = 1;
    for (size_t d = 1; d < output.shape.size(); ++d) {
      columns *= static_cast<uint32_t>(output.shape[d]);
    }
    sources[pack.count()] = i;
    pack.Add(static_cast<uint16_t>(next), output.datatype, columns, output.raw.size());
  }
  const size_t bytes = pack.bytes();
  std::byte* block;
  if (bytes <= kInlineBytes) {
    message->kind = MessageKind::kInline;
    message->code = static_cast<uint8_t>(bytes);
    block = message->payload;
  } else {
    if (arena_->shape().BlockBytes(bytes) == 0) {
      return absl::ResourceExhaustedError("the answer is over the client's max_answer_bytes");
    }
    const MaybeBlock ref = Allocate(bytes);
    if (!ref.has_value()) {
      return absl::ResourceExhaustedError("no memory for the answer: release results first");
    }
    message->block = *ref;
    block = arena_->At(ref->offset);
  }
  pack.Place(block);
  for (size_t i = 0; i < pack.count(); ++i) {
    const std::string_view raw = answer.outputs[sources[i]].raw;
    memcpy(pack.Data(i), raw.data(), raw.size());
  }
  return absl::OkStatus();
}

void LocalPeer::AnswerError(uint64_t id, absl::StatusCode code, std::string_view sentence) {
  if (gone_) return;
  Message message;
  message.kind = MessageKind::kError;
  message.id = id;
  message.code = static_cast<uint8_t>(code);
  sentence = sentence.substr(0, kMaxSentence);
  // Without memory for it the client has a sentence of its own.
  const MaybeBlock block = sentence.empty() ? MaybeBlock() : Allocate(sentence.size());
  if (block.has_value()) {
    memcpy(arena_->At(block->offset), sentence.data(), sentence.size());
    message.block = *block;
  }
  Publish(message);
}

void LocalPeer::Publish(const Message& message) {
  if (!replies_->CanSubmit()) CollectReturns();
  if (!gone_ && !replies_->CanSubmit()) Cut("takes no answers");
  if (gone_) return;
  replies_->Submit(message);
  wake_pending_ = true;
}

}  // namespace millrace
