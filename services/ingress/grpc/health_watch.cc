#include "services/ingress/grpc/health_watch.h"

#include <optional>
#include <utility>

#include "common/check.h"
#include "services/ingress/grpc/grpc_status.h"

namespace millrace {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// Watchers that are refused need an object for that; so many may be refused at a time.
constexpr size_t kRefusing = 4;

}  // namespace

// One call: it waits for a client, then has at most one Write outstanding, then Finish.
class HealthWatch::Watcher {
 public:
  explicit Watcher(HealthWatch* owner) : owner_(owner) {}

  void Post() {
    context_.emplace();
    context_->AsyncNotifyWhenDone(static_cast<QueueEvent*>(&end_tag_));
    writer_.emplace(&*context_);
    owner_->post_(&*context_, &request_, &*writer_, &arrive_tag_);
  }

  // Writes the state where the client has not been told it.
  void Tell() {
    if (!arrived_ || writing_ || finishing_ || refused_) return;
    const int now = known_ ? (owner_->serving_ ? HealthCheckResponse::SERVING
                                               : HealthCheckResponse::NOT_SERVING)
                           : HealthCheckResponse::SERVICE_UNKNOWN;
    if (told_ != now) {
      told_ = now;
      HealthCheckResponse response;
      response.set_status(static_cast<HealthCheckResponse::ServingStatus>(now));
      grpc::ByteBuffer message;
      bool own_buffer = false;
      if (!grpc::SerializationTraits<HealthCheckResponse>::Serialize(response, &message,
                                                                     &own_buffer)
               .ok()) {
        return Finish({grpc::StatusCode::INTERNAL, "no memory"});
      }
      writing_ = true;
      writer_->Write(message, static_cast<QueueEvent*>(&write_tag_));
      return;
    }
    if (ended_) return Finish(grpc::Status::CANCELLED);
    if (owner_->stopping_) {
      Finish({grpc::StatusCode::UNAVAILABLE, "the server is shutting down"});
    }
  }

 private:
  class Tag final : public QueueEvent {
   public:
    Tag(Watcher* watcher, void (Watcher::*on)(bool)) : watcher_(watcher), on_(on) {}
    void Fire(bool ok) override { (watcher_->*on_)(ok); }

   private:
    Watcher* const watcher_;
    void (Watcher::*const on_)(bool);
  };

  void OnArrived(bool ok) {
    owner_->waiting_ = false;
    if (!ok) return;  // the server stops: this call never began
    arrived_ = true;
    refused_ = ++owner_->open_ > owner_->most_;
    owner_->PostOne();
    if (owner_->closed_) return;
    if (refused_) return Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watchers"});
    HealthCheckRequest request;
    const absl::Status status = ParseMessage(&request_, &request);
    if (!status.ok()) return Finish(ToGrpcStatus(status));
    known_ = request.service().empty() || request.service() == Oip::service_full_name();
    owner_->Look();
    Tell();
  }

  void OnWritten(bool) {
    writing_ = false;
    if (!owner_->closed_) Tell();
  }

  void OnFinished(bool) {
    finished_ = true;
    FreeIfOver();
  }

  void OnEnd(bool) {
    ended_ = true;
    if (owner_->closed_) return;
    if (!finishing_ && !writing_) Finish(grpc::Status::CANCELLED);
    FreeIfOver();
  }

  void Finish(const grpc::Status& status) {
    MR_CHECK(!finishing_ && !writing_, "a watcher is finished once, after its last write");
    finishing_ = true;
    if (!owner_->closed_) writer_->Finish(status, static_cast<QueueEvent*>(&finish_tag_));
  }

  void FreeIfOver() {
    if (!finished_ || !ended_ || owner_->closed_) return;
    writer_.reset();
    context_.reset();
    request_.Clear();
    arrived_ = refused_ = known_ = writing_ = finishing_ = finished_ = ended_ = false;
    told_ = -1;
    owner_->Free(this);
  }

  HealthWatch* const owner_;
  Tag arrive_tag_{this, &Watcher::OnArrived};
  Tag write_tag_{this, &Watcher::OnWritten};
  Tag finish_tag_{this, &Watcher::OnFinished};
  Tag end_tag_{this, &Watcher::OnEnd};
  bool arrived_ = false;
  bool refused_ = false;
  bool known_ = false;
  bool writing_ = false;
  bool finishing_ = false;
  bool finished_ = false;  // gRPC has returned Finish
  bool ended_ = false;     // gRPC has returned the call's end
  int told_ = -1;
  std::optional<grpc::ServerContext> context_;
  std::optional<grpc::ServerAsyncWriter<grpc::ByteBuffer>> writer_;
  grpc::ByteBuffer request_;
};

HealthWatch::HealthWatch(size_t most, std::function<bool()> serving, RawWatchPost post)
    : most_(most), serving_now_(std::move(serving)), post_(std::move(post)) {}

HealthWatch::~HealthWatch() = default;

void HealthWatch::PostOne() {
  if (stopping_ || closed_ || waiting_ || open_ >= most_ + kRefusing) return;
  if (free_.empty()) {
    watchers_.push_back(std::make_unique<Watcher>(this));
    free_.push_back(watchers_.back().get());
  }
  Watcher* const watcher = free_.back();
  free_.pop_back();
  waiting_ = true;
  watcher->Post();
}

void HealthWatch::Free(Watcher* watcher) {
  --open_;
  free_.push_back(watcher);
  PostOne();
}

void HealthWatch::Tell(bool serving) {
  if (serving == serving_ || closed_) return;
  serving_ = serving;
  for (const auto& watcher : watchers_) watcher->Tell();
}

void HealthWatch::Stop() {
  if (stopping_) return;
  stopping_ = true;
  serving_ = false;
  for (const auto& watcher : watchers_) watcher->Tell();
}

}  // namespace millrace
