#include "services/registry/debt/debt_watch.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "common/log.h"
#include "services/registry/manifest/utc.h"

namespace millrace {

DebtWatch::DebtWatch(const OtlpEndpoint& webhook, Options options)
    : options_(options), webhook_(webhook, options.patience_ms) {
  thread_ = std::thread([this] { Run(); });
}

DebtWatch::~DebtWatch() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  webhook_.Cancel();
  changed_.notify_one();
  thread_.join();
}

void DebtWatch::Use(const Catalog& catalog) {
  Catalog kept;
  for (const Model& model : catalog.models()) {
    Model* const copy = kept.add_models();
    copy->set_name(model.name());
    copy->set_version(model.version());
    if (model.has_provenance()) *copy->mutable_provenance() = model.provenance();
  }
  *kept.mutable_weights() = catalog.weights();
  const std::lock_guard<std::mutex> lock(mutex_);
  catalog_ = std::move(kept);
  fresh_ = true;
  changed_.notify_one();
}

DebtWatch::Counts DebtWatch::counts() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return counts_;
}

std::map<DebtWatch::Name, std::string> DebtWatch::Due() const {
  const int64_t now_s = options_.now_s == nullptr ? WallSeconds() : options_.now_s();
  std::map<Name, std::string> due;
  for (const Model& model : catalog_.models()) {
    const Name name = {model.name(), model.version()};
    if (settled_.count(name) > 0 || !IsReadOnly(catalog_, model, options_.limits, now_s)) continue;
    const auto weights = std::find_if(
        catalog_.weights().begin(), catalog_.weights().end(), [&](const ModelWeights& each) {
          return each.model() == model.name() && each.version() == model.version();
        });
    const nlohmann::json notice = {{"event", "weights_too_old"},
                                   {"model", model.name()},
                                   {"version", model.version()},
                                   {"owner", model.provenance().owner()},
                                   {"weights_of", FormatUtc(weights->made_s())},
                                   {"by_time_of_file", weights->of_file()},
                                   {"age_days", WeightsAgeDays(catalog_, model, now_s)},
                                   {"max_age_days", options_.limits.max_age_days},
                                   {"read_only", true}};
    due[name] = notice.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return due;
}

// Whether there is nothing more to say of it.
bool DebtWatch::Tell(const Name& name, const std::string& json) {
  std::string why;
  const Webhook::Outcome outcome = webhook_.Post(json, &why);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ending_) return false;
  if (outcome == Webhook::Outcome::kTaken) {
    ++counts_.told;
    Log(LogLevel::kInfo, "debt_told",
        {{"model", name.first}, {"version", name.second}, {"told", counts_.told}});
    return true;
  }
  const bool refused = outcome == Webhook::Outcome::kRefused;
  refused ? ++counts_.refused : ++counts_.failed_attempts;
  Log(LogLevel::kWarning, "debt_not_told",
      {{"model", name.first},
       {"version", name.second},
       {"why", why},
       {"again", refused ? "no" : "yes"},
       {"failed_attempts", counts_.failed_attempts},
       {"refused", counts_.refused}});
  return refused;
}

void DebtWatch::Run() {
  int64_t pause_ms = options_.first_pause_ms;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!ending_) {
    fresh_ = false;
    const std::map<Name, std::string> due = Due();
    lock.unlock();
    bool again = false;
    for (const auto& [name, json] : due) {
      if (Tell(name, json)) {
        settled_.insert(name);
      } else {
        again = true;
        break;  // the others would fare no better now
      }
    }
    lock.lock();
    const int64_t wait_ms = again ? pause_ms : options_.look_ms;
    pause_ms = again ? std::min(pause_ms * 2, options_.longest_pause_ms) : options_.first_pause_ms;
    changed_.wait_for(lock, std::chrono::milliseconds(wait_ms),
                      [this, again] { return ending_ || (fresh_ && !again); });
  }
}

}  // namespace millrace
