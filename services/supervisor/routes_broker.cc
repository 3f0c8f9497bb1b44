#include "services/supervisor/routes_broker.h"

#include <algorithm>
#include <utility>

#include "ipc/memfd.h"

namespace millrace {
namespace {

constexpr size_t kMostBytes = 16 << 20;

absl::StatusOr<std::string> ReadSealed(const SharedFd& fd) {
  const auto map = MapImmutable(fd->get(), kMostBytes);
  if (!map.ok()) return map.status();
  return std::string(static_cast<const char*>(map->get_address()), map->get_size());
}

}  // namespace

absl::StatusOr<bool> RoutesBroker::Take(const PublishRoutes& published, SharedFd fd) {
  absl::StatusOr<std::string> bytes = ReadSealed(fd);
  if (!bytes.ok()) return bytes.status();
  Routes routes;
  if (!routes.ParseFromString(*bytes)) return absl::InvalidArgumentError("cannot be parsed");
  if (routes.generation() != published.generation()) {
    return absl::InvalidArgumentError("generation: message and routes differ");
  }
  if (has_routes() && *bytes == bytes_) return false;
  fd_ = std::move(fd);
  bytes_ = std::move(*bytes);
  routes_ = std::move(routes);
  ++serial_;
  return true;
}

void RoutesBroker::Adopt(SharedFd fd, uint64_t serial) {
  serial_ = serial;
  if (fd == nullptr) return;
  absl::StatusOr<std::string> bytes = ReadSealed(fd);
  if (!bytes.ok() || !routes_.ParseFromString(*bytes)) return;  // the registry says them again
  fd_ = std::move(fd);
  bytes_ = std::move(*bytes);
}

bool RoutesBroker::Knows(uint32_t asker, uint64_t request) const {
  return std::any_of(questions_.begin(), questions_.end(), [&](const Question& q) {
    return q.asker == asker && q.change.request() == request;
  });
}

bool RoutesBroker::Ask(uint32_t asker, const ChangeRoutes& change, int64_t now_ns) {
  if (Knows(asker, change.request())) return true;
  const size_t most = asker == 0 ? kMostOpen : kMostOpen - kOnlyAdmins;
  if (questions_.size() >= most) return false;
  Question& question = questions_.emplace_back();
  question.asker = asker;
  question.change = change;
  question.change.set_for_client(asker != 0);
  question.asked_ns = now_ns;
  return true;
}

std::optional<RoutesChanged> RoutesBroker::Fetch(uint32_t asker, uint64_t request) {
  const auto mine = std::find_if(questions_.begin(), questions_.end(), [&](const Question& q) {
    return q.asker == asker && q.change.request() == request;
  });
  if (mine == questions_.end() || !mine->done) return std::nullopt;
  RoutesChanged answer = std::move(*mine->answer);
  questions_.erase(mine);
  return answer;
}

void RoutesBroker::Answered(uint32_t registry, const RoutesChanged& changed) {
  for (Question& question : questions_) {
    if (question.registry != registry || question.number != changed.request()) continue;
    if (question.answer.has_value()) return;
    question.answer = changed;
    question.answer->set_request(question.change.request());
    question.serial = serial_;
    question.done = changed.code() != 0 || changed.generation() == 0;
    return;
  }
}

void RoutesBroker::Forget(int64_t now_ns) {
  std::erase_if(questions_, [&](const Question& question) {
    return question.done && now_ns - question.asked_ns > kLimitNs + kForgetNs;
  });
}

}  // namespace millrace
