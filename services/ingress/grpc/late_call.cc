#include "services/ingress/grpc/late_call.h"

#include <utility>

#include "common/check.h"

namespace millrace {

LateCall::LateCall(RawPost post, Check check, Handle handle, const bool* stopping)
    : post_(std::move(post)),
      check_(std::move(check)),
      handle_(std::move(handle)),
      stopping_(stopping),
      alive_(std::make_shared<LateCall*>(this)) {}

void LateCall::Post() {
  request_.Clear();
  writer_.reset();
  context_.emplace();
  writer_.emplace(&*context_);
  state_ = State::kWaiting;
  post_(&*context_, &request_, &*writer_, this);
}

void LateCall::Fire(bool ok) {
  if (*stopping_ || (state_ == State::kWaiting && !ok)) return;
  if (state_ == State::kFinishing) return Post();
  MR_CHECK(state_ == State::kWaiting, "an event belongs to a call that waits or finishes");
  state_ = State::kHandled;
  if (const absl::Status status = check_(&*context_); !status.ok()) {
    return Finish(ToGrpcStatus(status));
  }
  handle_(&request_, [weak = std::weak_ptr<LateCall*>(alive_)](const grpc::Status& status) {
    if (const auto alive = weak.lock()) (*alive)->Finish(status);
  });
}

void LateCall::Finish(const grpc::Status& status) {
  MR_CHECK(state_ == State::kHandled, "a call is answered once");
  state_ = State::kFinishing;
  if (!status.ok()) return writer_->FinishWithError(status, static_cast<QueueEvent*>(this));
  const grpc::Slice nothing;
  writer_->Finish(grpc::ByteBuffer(&nothing, 1), status, static_cast<QueueEvent*>(this));
}

}  // namespace millrace
