#include "services/ingress/grpc/plain_call.h"

namespace millrace {

void PlainCall::Post() {
  request_.Clear();
  writer_.reset();
  context_.emplace();
  writer_.emplace(&*context_);
  waiting_ = true;
  post_(&*context_, &request_, &*writer_, this);
}

void PlainCall::Fire(bool ok) {
  if (*stopping_ || (waiting_ && !ok)) return;
  if (!waiting_) return Post();
  waiting_ = false;
  grpc::ByteBuffer reply;
  grpc::Status status = ToGrpcStatus(check_(&*context_));
  if (status.ok()) status = answer_(&request_, &reply);
  if (status.ok()) {
    writer_->Finish(reply, status, static_cast<QueueEvent*>(this));
  } else {
    writer_->FinishWithError(status, static_cast<QueueEvent*>(this));
  }
}

}  // namespace millrace
