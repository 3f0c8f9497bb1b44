#include "ipc/client/moving_client.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/clock.h"

namespace millrace {
namespace {

// Between two attempts to connect again.
constexpr int64_t kAgainNs = 10 * kNanosPerMilli;
// While answers may come over several connections, one of them is slept on for so long.
constexpr int64_t kTurnNs = kNanosPerMilli;

bool SameTensors(const std::vector<mr_model::Tensor>& a, const std::vector<mr_model::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.name == y.name && x.datatype == y.datatype && x.column == y.column && x.dims == y.dims;
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<MovingClient>> MovingClient::Connect(const std::string& path,
                                                                    const mr_options& options) {
  absl::StatusOr<std::unique_ptr<LocalClient>> first = LocalClient::Connect(path, options);
  if (!first.ok()) return first.status();
  std::unique_ptr<MovingClient> client(new MovingClient(path, options));
  client->connections_.push_back(std::move(*first));
  return client;
}

absl::StatusOr<mr_model*> MovingClient::OpenModel(const std::string& name,
                                                  const std::string& version) {
  if (current().Moving()) MoveOn().IgnoreError();
  absl::StatusOr<mr_model*> model = current().OpenModel(name, version);
  if (model.ok()) opened_.push_back({*model, name, version});
  return model;
}

absl::StatusOr<mr_request*> MovingClient::Begin(mr_model* model, uint32_t rows,
                                                absl::Span<const mr_input> inputs) {
  if (current().Moving()) {
    // Where nobody is there to move to yet, the one that asked still serves.
    if (absl::Status moved = MoveOn(); !moved.ok() && !current().connected()) return moved;
  }
  mr_model* const now = model->moved != nullptr ? model->moved : model;
  if (!model->changed.empty()) return absl::FailedPreconditionError(model->changed);
  absl::StatusOr<mr_request*> request = current().Begin(now, rows, inputs);
  if (request.ok()) (*request)->owner = &current();
  return request;
}

absl::Status MovingClient::MoveOn() {
  const int64_t now_ns = MonotonicNanos();
  if (now_ns < next_try_ns_) return absl::UnavailableError("the server is being replaced");
  next_try_ns_ = now_ns + kAgainNs;
  absl::StatusOr<std::unique_ptr<LocalClient>> next = LocalClient::Connect(path_, options_);
  if (!next.ok()) return next.status();
  std::vector<std::pair<mr_model*, std::string>> models;
  for (const Opened& opened : opened_) {
    absl::StatusOr<mr_model*> model = (*next)->OpenModel(opened.name, opened.version);
    std::string changed;
    if (absl::IsNotFound(model.status())) {
      changed = std::string(model.status().message());
    } else if (!model.ok()) {
      return model.status();
    } else if (!SameTensors((*model)->inputs, opened.model->inputs) ||
               !SameTensors((*model)->outputs, opened.model->outputs)) {
      changed = absl::StrCat("the signature of ", opened.name, " is another now: open it again");
    }
    models.emplace_back(changed.empty() ? *model : nullptr, changed);
  }
  for (size_t i = 0; i < models.size(); ++i) {
    opened_[i].model->moved = models[i].first;
    opened_[i].model->changed = models[i].second;
  }
  Flush();
  connections_.push_back(std::move(*next));
  DropEmpty();
  return absl::OkStatus();
}

void MovingClient::DropEmpty() {
  for (size_t i = 0; i + 1 < connections_.size();) {
    if (connections_[i]->held() > 0) {
      ++i;
      continue;
    }
    for (auto& model : connections_[i]->TakeModels()) kept_.push_back(std::move(model));
    connections_.erase(connections_.begin() + static_cast<ptrdiff_t>(i));
  }
}

void MovingClient::Flush() {
  for (const auto& connection : connections_) connection->Flush();
}

size_t MovingClient::Wait(mr_request** ended, size_t most, int64_t timeout_ns) {
  if (connections_.size() == 1) return current().Wait(ended, most, timeout_ns);
  const size_t count = WaitForAll(ended, most, timeout_ns);
  DropEmpty();
  return count;
}

size_t MovingClient::WaitForAll(mr_request** ended, size_t most, int64_t timeout_ns) {
  const int64_t until_ns = timeout_ns > 0 ? MonotonicNanos() + timeout_ns : 0;
  while (true) {
    LocalClient* busy = nullptr;
    for (const auto& connection : connections_) {
      if (const size_t count = connection->Wait(ended, most, 0); count > 0) return count;
      if (busy == nullptr && connection->in_flight() > 0) busy = connection.get();
    }
    if (busy == nullptr || timeout_ns == 0) return 0;
    int64_t turn_ns = kTurnNs;
    if (timeout_ns > 0) turn_ns = std::min(turn_ns, until_ns - MonotonicNanos());
    if (turn_ns <= 0) return 0;
    if (const size_t count = busy->Wait(ended, most, turn_ns); count > 0) return count;
  }
}

int MovingClient::Infer(mr_request* request, const mr_submit_options& options) {
  const int code = request->owner->Infer(request, options);
  if (code != MR_OK) error_ = request->owner->error();
  return code;
}

void MovingClient::Release(mr_request* request) {
  LocalClient* const owner = request->owner;
  owner->Release(request);
  if (owner != &current()) DropEmpty();
}

}  // namespace millrace
