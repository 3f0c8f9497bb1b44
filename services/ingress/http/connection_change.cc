// Connection: requests that change what is served.
#include "services/ingress/http/connection.h"
#include "services/ingress/http/json_writer.h"
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

std::string Connection::Who() const {
  return tenant_.empty() ? "http:" + wire_.PeerAddress() : "key:" + tenant_;
}

void Connection::AskRoutes() {
  RoutesQuestion question;
  const absl::Status status = context_->route_parser.Parse(
      head_.route, head_.posted, parser_->get().body(), &question.command_json);
  if (!status.ok()) return Fail(status);
  question.who = Who();
  parser_->get().body().clear();
  Discharge();
  Enter(State::kChanging, kNever);
  context_->frontend->AskRoutes(std::move(question),
                                [weak = weak_from_this()](const RoutesReply& reply) {
                                  if (const std::shared_ptr<Connection> self = weak.lock())
                                    self->OnRoutesReply(reply);
                                });
}

void Connection::OnRoutesReply(const RoutesReply& reply) {
  if (state_ != State::kChanging) return;
  Guarded([&] {
    if (!reply.status.ok()) return Fail(reply.status);
    std::string json = reply.json.empty() ? "{}" : reply.json;
    if (!reply.message.empty()) {
      std::string first = "{\"message\":";
      AppendJsonString(reply.message, &first);
      if (json != "{}") first.push_back(',');
      json.replace(0, 1, first);
    }
    answer_ = {std::move(json), "", false, ""};
    Send(200);
  });
}

}  // namespace millrace::http
