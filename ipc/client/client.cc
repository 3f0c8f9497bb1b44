#include "ipc/client/client.h"

#include <algorithm>

#include "common/check.h"
#include "common/clock.h"
#include "ipc/copy_pieces.h"

namespace millrace {
namespace {

// Submitted and not flushed: so many reach the server without being asked to.
constexpr size_t kFlushAt = 32;
// Looks that found nothing between two looks whether the server is still there.
constexpr uint32_t kLooksPerCheck = 64;

uint64_t IdOf(const mr_request& request) { return uint64_t{request.use} << 16 | request.place; }

const char* GenericSentence(int code) {
  switch (code) {
    case MR_CANCELLED:
      return "cancelled by the client";
    case MR_RESOURCE_EXHAUSTED:
      return "the answer finds no memory: release results first";
    default:
      return "the request failed";
  }
}

}  // namespace

absl::StatusOr<mr_request*> LocalClient::Begin(mr_model* model, uint32_t rows,
                                               absl::Span<const mr_input> inputs) {
  if (!connected()) return why_;
  if (rows == 0) return absl::InvalidArgumentError("rows: at least 1");
  if (free_.empty()) {
    return absl::ResourceExhaustedError("every place is taken: wait for answers and release them");
  }
  if (inputs.empty()) {
    ReadyTensors(*model, rows);
    inputs = ready_;
  }
  PackWriter pack(rows);
  for (const mr_input& input : inputs) {
    if (input.place >= model->inputs.size()) {
      return absl::InvalidArgumentError("inputs: a place that the model does not have");
    }
    if (!pack.Add(static_cast<uint16_t>(input.place), static_cast<DataType>(input.datatype),
                  input.columns, input.bytes)) {
      return absl::ResourceExhaustedError("inputs: too many, or too large");
    }
  }
  if (arena_->shape().BlockBytes(pack.bytes()) == 0) {
    return absl::ResourceExhaustedError("inputs: over the client's max_request_bytes");
  }
  CollectReturns();
  const MaybeBlock block = arena_->Allocate(pack.bytes());
  if (!block.has_value()) {
    return absl::ResourceExhaustedError("no memory for a request of this size now");
  }
  mr_request& request = requests_[free_.back()];
  free_.pop_back();
  pack.Place(arena_->At(block->offset));
  request.inputs.clear();
  for (size_t i = 0; i < pack.count(); ++i) {
    request.inputs.emplace_back(pack.Data(i), pack.data_bytes(i));
  }
  request.state = mr_request::State::kBegun;
  request.use += 1;
  request.model = model;
  request.block = *block;
  return &request;
}

bool LocalClient::Moving() const {
  // acquire: meets the release in LocalServer::Move.
  return their_words_.as<const LocalWords>()->moving.load(std::memory_order_acquire) != 0;
}

void LocalClient::ReadyTensors(const mr_model& model, uint32_t rows) {
  ready_.clear();
  for (uint32_t place = 0; place < model.inputs.size(); ++place) {
    const mr_model::Tensor& tensor = model.inputs[place];
    if (tensor.column) continue;
    const uint64_t bytes = uint64_t{rows} * tensor.columns * DataTypeSize(tensor.datatype);
    ready_.push_back({place, static_cast<int32_t>(tensor.datatype), tensor.columns, 0, bytes});
  }
}

// Blocks come back as the server copies them; a look costs two lines that it writes.
void LocalClient::CollectReturns() {
  if (out_->depth() == 0 && out_->lent() == 0) return;
  returned_.clear();
  const LinkResult result = out_->CollectReturns(&returned_);
  for (uint32_t offset : returned_) arena_->Release(offset);
  if (result == LinkResult::kFault) {
    Fail(absl::UnavailableError("the server broke the rules of the shared memory"));
  }
}

absl::Status LocalClient::Submit(mr_request* request, const mr_submit_options& options) {
  if (request->state != mr_request::State::kBegun) {
    return absl::FailedPreconditionError("the request was not begun, or is submitted already");
  }
  std::optional<TraceContext> trace;
  if (options.traceparent != nullptr) {
    trace = ParseTraceParent(options.traceparent);
    if (!trace.has_value()) {
      return absl::InvalidArgumentError("traceparent: is none as W3C Trace Context has it");
    }
  }
  if (!connected()) return why_;
  if (!out_->CanSubmit()) CollectReturns();
  if (!connected()) return why_;
  if (!out_->CanSubmit()) {
    return absl::ResourceExhaustedError("the server has not taken what was sent before");
  }
  Message message;
  message.route = request->model->handle;
  message.id = IdOf(*request);
  message.deadline_ns = options.deadline_ns;
  message.origin =
      options.outputs << kLocalPriorityBits | std::min<uint32_t>(options.priority, 255);
  message.published_ticks = PublishedTicks(MonotonicNanos());
  message.block = request->block;
  if (trace.has_value()) {
    PutTrace(*trace, &message);
  } else if (request->block.length <= kInlineBytes) {
    message.kind = MessageKind::kInline;
    message.code = static_cast<uint8_t>(request->block.length);
    // The last word may be whole where the pack is not: the smallest block has room.
    const size_t words = (request->block.length + sizeof(uint32_t) - 1) / sizeof(uint32_t);
    CopyPieces(message.payload, arena_->At(request->block.offset), words);
    arena_->Release(request->block.offset);
  }
  out_->Submit(message);
  request->block = {};
  request->state = mr_request::State::kInFlight;
  request->user = options.user;
  request->let_go = request->cancel = false;
  ++in_flight_;
  if (++unflushed_ >= kFlushAt) Flush();
  return absl::OkStatus();
}

void LocalClient::Flush() {
  if (unflushed_ == 0 || !connected()) return;
  unflushed_ = 0;
  if (gate_.ShouldWake()) SendWake(socket_.get());
}

void LocalClient::Cancel(mr_request* request) {
  if (request->state != mr_request::State::kInFlight || request->cancel) return;
  request->cancel = true;
  ++cancels_;
  SendCancels();
}

void LocalClient::SendCancels() {
  if (!connected()) return;
  for (mr_request& request : requests_) {
    if (!request.cancel || request.state != mr_request::State::kInFlight) continue;
    if (!out_->CanSubmit()) CollectReturns();
    if (!connected() || !out_->CanSubmit()) return;  // again at the next wait
    Message message;
    message.kind = MessageKind::kError;
    message.code = MR_CANCELLED;
    message.id = IdOf(request);
    out_->Submit(message);
    request.cancel = false;
    --cancels_;
    ++unflushed_;
  }
}

size_t LocalClient::TakeAnswers() {
  size_t count = 0;
  Message answer;
  while (true) {
    const LinkResult result = in_->Take(&answer);
    if (result == LinkResult::kEmpty) break;
    if (result == LinkResult::kFault) {
      Fail(absl::UnavailableError("the server broke the rules of the shared memory"));
      return count;
    }
    ++count;
    End(answer);
    if (!connected()) return count;
  }
  if (count > 0) in_->PublishCredits();
  return count;
}

void LocalClient::End(const Message& answer) {
  const size_t place = answer.id & 0xffff;
  const bool known = place < requests_.size() &&
                     requests_[place].state == mr_request::State::kInFlight &&
                     IdOf(requests_[place]) == answer.id;
  if (!known) return Fail(absl::UnavailableError("an answer to what was not asked"));
  mr_request& request = requests_[place];
  request.answer = answer;
  request.version = answer.origin;
  request.code = MR_OK;
  --in_flight_;
  if (request.cancel) {
    request.cancel = false;
    --cancels_;
  }
  request.state = mr_request::State::kEnded;
  if (answer.kind == MessageKind::kError) {
    request.code = answer.code == 0 ? int{MR_UNKNOWN} : int{answer.code};
    request.error = GenericSentence(request.code);
    if (answer.HasBlock()) {
      const auto text = their_arena_.Get(answer.block);
      if (text.has_value()) {
        request.error.assign(reinterpret_cast<const char*>(text->data()), text->size());
      }
      in_->Return(answer.block.offset);
      request.answer.block = {};
    }
  } else if (!ReadResults(&request)) {
    request.code = MR_INTERNAL;
    request.error = "an answer that cannot be read";
  }
  if (request.let_go) return Free(&request);
  ended_.push_back(&request);
}

bool LocalClient::ReadResults(mr_request* request) {
  std::optional<absl::Span<const std::byte>> bytes;
  if (request->answer.kind == MessageKind::kInline) {
    bytes = absl::Span<const std::byte>(request->answer.payload, request->answer.code);
  } else {
    bytes = their_arena_.Get(request->answer.block);
  }
  PackView pack;
  if (!bytes.has_value() || !PackView::OpenInto(*bytes, &pack).ok()) return false;
  request->rows = pack.rows();
  for (size_t i = 0; i < pack.count(); ++i) {
    const PackTensor tensor = pack.tensor(i);
    if (tensor.name >= request->model->outputs.size()) return false;
    // In its place, not by a copy (ipc/copy_pieces.h).
    PackTensor& result = request->results.emplace_back();
    result.name = tensor.name;
    result.datatype = tensor.datatype;
    result.columns = tensor.columns;
    result.data = tensor.data;
  }
  return true;
}

void LocalClient::Free(mr_request* request) {
  if (request->block.length > 0) arena_->Release(request->block.offset);
  if (connected() && request->answer.HasBlock()) in_->Return(request->answer.block.offset);
  request->answer.block = {};
  request->answer.kind = MessageKind::kData;
  request->block = {};
  request->results.clear();
  request->state = mr_request::State::kFree;
  free_.push_back(request->place);
}

void LocalClient::Release(mr_request* request) {
  switch (request->state) {
    case mr_request::State::kFree:
      return;
    case mr_request::State::kInFlight:
      request->let_go = true;
      return Cancel(request);
    case mr_request::State::kEnded:
      // Still to be delivered: then it will not be.
      if (auto found = std::find(ended_.begin() + next_ended_, ended_.end(), request);
          found != ended_.end()) {
        ended_.erase(found);
      }
      return Free(request);
    case mr_request::State::kBegun:
      return Free(request);
  }
}

size_t LocalClient::Deliver(mr_request** ended, size_t most) {
  const size_t count = std::min(most, ended_.size() - next_ended_);
  std::copy_n(ended_.begin() + next_ended_, count, ended);
  next_ended_ += count;
  if (next_ended_ == ended_.size() || next_ended_ >= places()) {
    ended_.erase(ended_.begin(), ended_.begin() + next_ended_);
    next_ended_ = 0;
  }
  return count;
}

size_t LocalClient::Wait(mr_request** ended, size_t most, int64_t timeout_ns) {
  if (cancels_ > 0) SendCancels();
  Flush();
  int64_t until_ns = -1;
  while (true) {
    if (connected() && TakeAnswers() > 0) idler_.Worked();
    if (const size_t count = Deliver(ended, most); count > 0) return count;
    if (in_flight_ == 0 || !connected()) return 0;
    if (++idle_looks_ % kLooksPerCheck == 0) ReadSocket();
    if (timeout_ns == 0) return 0;
    if (!idler_.ShouldPark(mode_)) {
      if (timeout_ns < 0) continue;
      // The clock is looked at as often as the idler does.
      if (until_ns < 0) until_ns = MonotonicNanos() + timeout_ns;
      if (MonotonicNanos() >= until_ns) return 0;
      continue;
    }
    if (timeout_ns > 0 && until_ns < 0) until_ns = MonotonicNanos() + timeout_ns;
    if (timeout_ns > 0 && MonotonicNanos() >= until_ns) return 0;
    SleepUntil(timeout_ns < 0 ? -1 : until_ns);
  }
}

int LocalClient::Infer(mr_request* request, const mr_submit_options& options) {
  if (absl::Status sent = Submit(request, options); !sent.ok()) {
    error_ = std::string(sent.message());
    return static_cast<int>(sent.code());
  }
  Flush();
  while (request->state == mr_request::State::kInFlight) {
    if (connected() && TakeAnswers() > 0) {
      idler_.Worked();
    } else if (++idle_looks_ % kLooksPerCheck == 0) {
      ReadSocket();
    } else if (idler_.ShouldPark(mode_)) {
      SleepUntil(-1);
    }
  }
  ended_.erase(std::find(ended_.begin() + next_ended_, ended_.end(), request));
  if (request->code != MR_OK) error_ = request->error;
  return request->code;
}

}  // namespace millrace
