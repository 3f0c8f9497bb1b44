// Connection: requests that change what is served.
#include "services/ingress/http/connection.h"
#include "services/ingress/verbs.h"

namespace millrace::http {

void Connection::StartChange() {
  ModelChange change;
  change.kind = head_.route.endpoint == Endpoint::kLoad ? ModelChange::Kind::kLoad
                                                        : ModelChange::Kind::kUnload;
  change.model = head_.route.model;
  absl::Status status = CheckModelName(change.model);
  if (status.ok()) status = context_->change_parser.Parse(parser_->get().body(), &change);
  if (!status.ok()) return Fail(status);
  parser_->get().body().clear();
  Discharge();
  Enter(State::kChanging, kNever);
  // The change outlives its client, the connection does not.
  context_->frontend->ChangeModel(change, [weak = weak_from_this()](const absl::Status& outcome) {
    if (const std::shared_ptr<Connection> self = weak.lock()) self->OnChanged(outcome);
  });
}

void Connection::OnChanged(const absl::Status& outcome) {
  if (state_ != State::kChanging) return;  // its client left meanwhile
  Guarded([&] {
    if (!outcome.ok()) return Fail(outcome);
    answer_ = {"{}", "", false, ""};
    Send(200);
  });
}

}  // namespace millrace::http
