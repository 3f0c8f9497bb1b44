// Fleet: routes, from the registry to every ingress; and changes of them, from whoever may ask.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"
#include "services/supervisor/stored_names.h"

namespace millrace {
namespace {

constexpr uint64_t kSerialsSkipped = 64;
constexpr uint64_t kRouteNumbersSkipped = 64;  // some may have been given out since

// Serves clients: what it goes by counts.
bool Serves(const FleetProcess& process) {
  return process.stage == Stage::kIngress &&
         (process.state == ProcessState::kReady || process.state == ProcessState::kLeaving);
}

RoutesChanged Refusal(uint64_t request, absl::StatusCode code, const char* why) {
  RoutesChanged answer;
  answer.set_request(request);
  answer.set_code(static_cast<int>(code));
  answer.set_message(why);
  return answer;
}

}  // namespace

void Fleet::OnPublishRoutes(FleetProcess* process, const PublishRoutes& published,
                            std::vector<Fd> fds) {
  absl::StatusOr<bool> taken = absl::InvalidArgumentError("only the registry publishes routes");
  if (process->stage == Stage::kRegistry && fds.size() == 1) {
    taken = routes_.Take(published, std::make_shared<const Fd>(std::move(fds[0])));
  }
  if (!taken.ok()) {
    process->condemned =
        absl::StrCat("published routes that are refused: ", taken.status().message());
    return;
  }
  if (!*taken) return;
  // First those who answer clients; what the next supervisor needs after that.
  for (auto& [key, other] : processes_) {
    if (other.stage == Stage::kIngress && other.state != ProcessState::kDying) SendRoutes(&other);
  }
  hands_->Store({{kStoredRoutes, routes_.fd()}});
  StoreState();
  Log(LogLevel::kInfo, "routes_published",
      {{"generation", published.generation()}, {"routes", routes_.routes().routes_size()}});
}

void Fleet::SendRoutes(FleetProcess* ingress) {
  if (!routes_.has_routes()) return;
  ToProcess message;
  message.mutable_routes()->set_generation(routes_.serial());
  Send(ingress, message, {routes_.fd()});
}

void Fleet::OnRoutesTaken(FleetProcess* process, const RoutesTaken& taken) {
  if (process->stage != Stage::kIngress || taken.generation() > routes_.serial()) {
    process->condemned = "took up routes that were never sent";
    return;
  }
  process->routes_taken = std::max(process->routes_taken, taken.generation());
}

void Fleet::OnRoutesChanged(FleetProcess* process, const RoutesChanged& changed) {
  if (process->stage != Stage::kRegistry) {
    process->condemned = "answered a change of routes, which only the registry may";
    return;
  }
  routes_.Answered(process->key, changed);
}

void Fleet::OnChangeRoutes(FleetProcess* process, const ChangeRoutes& change) {
  if (process->stage != Stage::kIngress) {
    process->condemned = "asked for a change of routes, which only ingress may";
  } else if (!routes_.Ask(process->key, change, hands_->NowNs())) {
    ToProcess message;
    *message.mutable_routes_changed() = Refusal(change.request(), absl::StatusCode::kUnavailable,
                                                "too many changes of routes are open");
    Send(process, message);
  }
}

std::optional<RoutesChanged> Fleet::RoutesForAdmin(const ChangeRoutes& change) {
  if (!routes_.Knows(0, change.request())) {
    if (!routes_.Ask(0, change, hands_->NowNs())) {
      return Refusal(change.request(), absl::StatusCode::kUnavailable,
                     "too many changes of routes are open");
    }
    Settle();
  }
  return routes_.Fetch(0, change.request());
}

void Fleet::RereadRoutes() {
  ToProcess message;
  message.mutable_change_routes()->set_command_json(R"({"verb":"reread_routes"})");
  for (auto& [key, process] : processes_) {
    if (process.stage == Stage::kRegistry) Send(&process, message);
  }
}

bool Fleet::RoutesTakenEverywhere(uint64_t serial) const {
  return std::all_of(processes_.begin(), processes_.end(), [&](const auto& entry) {
    return !Serves(entry.second) || entry.second.routes_taken >= serial;
  });
}

void Fleet::AskRegistry(RoutesBroker::Question* question) {
  for (auto& [key, process] : processes_) {
    if (process.stage != Stage::kRegistry || process.state != ProcessState::kReady) continue;
    question->registry = key;
    question->number = routes_.NextNumber();
    ToProcess message;
    *message.mutable_change_routes() = question->change;
    message.mutable_change_routes()->set_request(question->number);
    Send(&process, message);
    return;
  }
}

void Fleet::StepRoutes() {
  if (routes_.questions().empty()) return;
  const int64_t now = hands_->NowNs();
  for (RoutesBroker::Question& question : routes_.questions()) {
    if (question.done) continue;
    const uint64_t request = question.change.request();
    if (question.answer.has_value()) {
      question.done = RoutesTakenEverywhere(question.serial);
      if (question.done || now - question.asked_ns <= RoutesBroker::kLimitNs) continue;
      question.answer->set_message("in force, but not every ingress has said so in time");
      question.done = true;
    } else if (phase_ != FleetPhase::kRunning) {
      question.answer = Refusal(request, absl::StatusCode::kUnavailable, "the server is stopping");
      question.done = true;
    } else if (question.registry != 0 && Find(question.registry) == nullptr) {
      // Not UNAVAILABLE, which tells clients to ask again: a rollback that was done goes further.
      question.answer = Refusal(request, absl::StatusCode::kDeadlineExceeded,
                                "the registry ended before it had an answer; it may have done it");
      question.done = true;
    } else if (question.registry == 0) {
      AskRegistry(&question);
    }
    if (!question.done && now - question.asked_ns > RoutesBroker::kLimitNs) {
      question.answer = Refusal(request, absl::StatusCode::kDeadlineExceeded,
                                "the registry did not answer in time; it may still do it");
      question.done = true;
    }
  }
  TellRoutesOutcomes();
  routes_.Forget(now);
}

void Fleet::TellRoutesOutcomes() {
  for (size_t i = 0; i < routes_.questions().size();) {
    const RoutesBroker::Question question = routes_.questions()[i];
    if (question.asker == 0 || !question.done) {
      news_for_admin_ |= question.done;
      ++i;
      continue;
    }
    routes_.questions().erase(routes_.questions().begin() + static_cast<ptrdiff_t>(i));
    FleetProcess* const asker = Find(question.asker);
    if (asker == nullptr) continue;
    ToProcess message;
    *message.mutable_routes_changed() = *question.answer;
    Send(asker, message);
  }
}

void Fleet::AdoptRoutes(const FleetState& state) {
  // Some may have been sent since; so everybody is told again.
  routes_.Adopt(hands_->TakeStored(kStoredRoutes), state.routes_serial() + kSerialsSkipped);
  routes_.GoOnFrom(state.routes_asked() + kRouteNumbersSkipped);
}

}  // namespace millrace
