#include "services/ingress/grpc/stream_call.h"

#include <utility>

#include "common/check.h"

namespace millrace {
namespace {

// Streams that are refused need an object for that; so many may be refused at a time.
constexpr size_t kRefusing = 8;

}  // namespace

void StreamCall::Post() {
  MR_CHECK(!arrived_ && !context_, "only a free stream is posted");
  context_.emplace();
  context_->AsyncNotifyWhenDone(static_cast<QueueEvent*>(&end_tag_));
  stream_.emplace(&*context_);
  pool_->post_(&*context_, &*stream_, &arrive_tag_);
}

void StreamCall::Read() {
  if (pool_->closed_) return;
  MR_CHECK(open() && !reading_, "one Read at a time");
  reading_ = true;
  stream_->Read(&message_, static_cast<QueueEvent*>(&read_tag_));
}

void StreamCall::Write(const grpc::ByteBuffer& message, bool more) {
  if (pool_->closed_) return;
  MR_CHECK(open() && !writing_, "one Write at a time");
  writing_ = true;
  grpc::WriteOptions options;
  // Not with the first: the head of the call goes with it, and gRPC calls that written when it has
  // left, which with the hint it does not.
  if (std::exchange(written_, true) && more) options.set_buffer_hint();
  stream_->Write(message, options, static_cast<QueueEvent*>(&write_tag_));
}

void StreamCall::Finish(const grpc::Status& status) {
  MR_CHECK(arrived_ && !finish_, "a stream is finished once");
  finish_ = status;
  ++pool_->finishing_;
  if (!writing_) SendFinish();
}

void StreamCall::SendFinish() {
  if (!pool_->closed_) stream_->Finish(*finish_, static_cast<QueueEvent*>(&finish_tag_));
}

void StreamCall::Free() {
  MR_CHECK(finished_ && ended_ && !reading_ && !writing_, "gRPC has returned everything");
  stream_.reset();
  context_.reset();
  finish_.reset();
  message_.Clear();
  arrived_ = written_ = cancelled_ = finished_ = ended_ = admitted_ = false;
  --pool_->finishing_;
  --pool_->open_;
  pool_->free_.push_back(this);
  pool_->PostOne();
}

void StreamCall::ArriveEvent(bool ok) {
  pool_->waiting_ = false;
  if (!ok) return;  // the server stops: this call never began, so it will not end
  arrived_ = true;
  admitted_ = ++pool_->open_ <= pool_->max_open_;
  pool_->PostOne();
  if (pool_->closed_) return;
  if (!admitted_) {
    return Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams are open"});
  }
  OnArrived();
}

void StreamCall::ReadEvent(bool ok) {
  reading_ = false;
  if (pool_->closed_) return;
  if (ok) {
    OnMessage(&message_);
  } else {
    OnHalfClosed();
  }
  OverIfAllReturned();
}

void StreamCall::WriteEvent(bool) {
  writing_ = false;
  if (pool_->closed_) return;
  const bool finish_waits = finish_.has_value();
  OnWritten();
  if (finish_waits) SendFinish();
  OverIfAllReturned();
}

void StreamCall::FinishEvent(bool) {
  finished_ = true;
  if (!pool_->closed_) OverIfAllReturned();
}

void StreamCall::EndEvent(bool) {
  ended_ = true;
  if (pool_->closed_) return;
  if (context_->IsCancelled() && !cancelled_) {
    cancelled_ = true;
    if (admitted_) OnCancelled();
    if (!finish_) Finish(grpc::Status::CANCELLED);
  }
  OverIfAllReturned();
}

void StreamCall::OverIfAllReturned() {
  if (!finished_ || !ended_ || reading_ || writing_) return;
  if (admitted_) return OnOver();
  Free();
}

StreamPool::StreamPool(size_t max_open, RawStreamPost post, Make make)
    : max_open_(max_open), post_(std::move(post)), make_(std::move(make)) {}

void StreamPool::PostOne() {
  if (stopping_ || closed_ || waiting_ || open_ >= max_open_ + kRefusing) return;
  if (free_.empty()) {
    calls_.push_back(make_(this));
    free_.push_back(calls_.back().get());
  }
  StreamCall* const call = free_.back();
  free_.pop_back();
  waiting_ = true;
  call->Post();
}

void StreamPool::Drain() {
  // By index: none is added to the list of calls, but one may leave it for the free list.
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (calls_[i]->admitted_ && calls_[i]->open()) calls_[i]->OnDrain();
  }
}

}  // namespace millrace
