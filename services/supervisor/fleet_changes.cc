// Fleet: catalogs given out, and models loaded and unloaded, one after the other.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr size_t kMaxChanges = 16;                        // that wait, of all who may ask
constexpr int64_t kChangeSlackNs = 60 * kNanosPerSecond;  // beside the compiler's time
constexpr int64_t kForgetNs = 60 * kNanosPerSecond;       // an outcome that nobody fetched

}  // namespace

void Fleet::AskChange(uint32_t asker, const ChangeModel& change) {
  for (const Change& known : changes_) {
    // Said again by an ingress that was adopted, while its first copy was still to be read.
    if (asker != 0 && known.asker == asker && known.change.request() == change.request()) return;
  }
  Change& added = changes_.emplace_back();
  added.asker = asker;
  added.change = change;
  added.asked_ns = hands_->NowNs();
  if (phase_ != FleetPhase::kRunning) {
    added.outcome = absl::UnavailableError("the server is stopping");
  } else if (changes_.size() > kMaxChanges) {
    added.outcome = absl::UnavailableError("too many changes of models are waiting");
  }
}

std::optional<absl::Status> Fleet::ChangeForAdmin(const ChangeModel& change) {
  const auto mine = std::find_if(changes_.begin(), changes_.end(), [&](const Change& c) {
    return c.asker == 0 && c.change.request() == change.request();
  });
  if (mine == changes_.end()) {
    AskChange(0, change);
    Settle();
    return std::nullopt;
  }
  std::optional<absl::Status> outcome = mine->outcome;
  if (outcome.has_value()) changes_.erase(mine);
  return outcome;
}

void Fleet::OnChangeModel(FleetProcess* process, const ChangeModel& change) {
  if (process->stage != Stage::kIngress) {
    process->condemned = "asked for a change of models, which only ingress may";
    return;
  }
  AskChange(process->key, change);
}

void Fleet::OnModelChanged(FleetProcess* process, const ModelChanged& changed) {
  const auto asked = std::find_if(changes_.begin(), changes_.end(), [&](const Change& c) {
    return c.registry == process->key && c.number == changed.request();
  });
  // One that was given up meanwhile has nobody who waits for it.
  if (process->stage != Stage::kRegistry) {
    process->condemned = "answered a change of models, which only the registry may";
  } else if (asked != changes_.end() && changed.code() != 0) {
    const bool known = changed.code() > 0 && changed.code() <= 16;
    asked->outcome = absl::Status(
        known ? static_cast<absl::StatusCode>(changed.code()) : absl::StatusCode::kInternal,
        changed.message());
  } else if (asked != changes_.end()) {
    asked->generation = changed.generation();
  }
}

// Whether nobody is behind the newest catalog: workers keep that and the one before it, so only
// then may there be another.
bool Fleet::Settled() const {
  if (!desk_.has_catalog() || live_generation_ != desk_.generation()) return false;
  for (const auto& [key, process] : processes_) {
    if (process.stage != Stage::kIngress || !RowOf(process.state).links) continue;
    if (process.told_live != live_generation_) return false;
    for (const FleetLane& lane : process.lanes) {
      const std::optional<PageLook> look = hands_->Look(lane.incarnation);
      if (look.has_value() && look->oldest_catalog < live_generation_) return false;
    }
  }
  return true;
}

// One rule for all that publishes: loads, reloads, a registry that was started again. Before the
// first one is live there are no requests to keep apart.
bool Fleet::CatalogMayFollow() const {
  if (!desk_.has_catalog() || live_generation_ == 0) return true;
  if (live_generation_ == desk_.generation()) return Settled();
  return catalog_failed_ || hands_->NowNs() - catalog_since_ns_ > kCatalogLimitNs;
}

bool Fleet::TakeCatalog() {
  if (!desk_.has_waiting() || !CatalogMayFollow()) return false;
  const bool was_live = live_generation_ == desk_.generation();
  const uint64_t forgotten = desk_.Take(was_live);
  catalog_since_ns_ = hands_->NowNs();
  catalog_failed_ = false;
  StoreCatalog(forgotten);
  Log(LogLevel::kInfo, "catalog_published",
      {{"generation", desk_.generation()},
       {"models", desk_.catalog().models_size()},
       {"failed", desk_.catalog().failed_size()}});
  for (auto& [key, process] : processes_) {
    if (HasLanes(process.stage) && process.state != ProcessState::kStopping) {
      SendCatalog(&process, desk_.newest());
    }
  }
  return true;
}

bool Fleet::IsLiveEverywhere(uint64_t generation) const {
  if (live_generation_ < generation) return false;
  return std::all_of(processes_.begin(), processes_.end(), [&](const auto& entry) {
    const FleetProcess& process = entry.second;
    return process.stage != Stage::kIngress || !RowOf(process.state).links ||
           process.told_live >= generation;
  });
}

void Fleet::StartChange(Change* change) {
  for (auto& [key, process] : processes_) {
    if (process.stage != Stage::kRegistry || process.state != ProcessState::kReady) continue;
    change->registry = key;
    change->number = ++changes_asked_;
    ToProcess message;
    *message.mutable_change_model() = change->change;
    message.mutable_change_model()->set_request(change->number);
    Send(&process, message);
    return;
  }
}

void Fleet::StepChanges() {
  const int64_t now = hands_->NowNs();
  const int64_t limit = setup_.config.compile_timeout_ms * kNanosPerMilli + kChangeSlackNs;
  bool first = true;  // of those without an outcome: the one that is worked on
  for (Change& change : changes_) {
    if (change.outcome.has_value()) continue;
    if (phase_ != FleetPhase::kRunning) {
      change.outcome = absl::UnavailableError("the server is stopping");
    } else if (now - change.asked_ns > limit) {
      change.outcome = absl::DeadlineExceededError(
          "the change was not live in time; it may still come into effect");
    } else if (change.registry != 0 && change.generation == 0 && Find(change.registry) == nullptr) {
      change.outcome = absl::UnavailableError("the registry ended before it had an answer");
    } else if (change.generation != 0 && IsLiveEverywhere(change.generation)) {
      change.outcome = absl::OkStatus();
    } else if (first && change.registry == 0 && !desk_.has_waiting() && Settled()) {
      StartChange(&change);
    }
    first = first && change.outcome.has_value();
  }
  for (const Change& change : changes_) {
    if (change.outcome.has_value() && change.asker != 0) TellOutcome(change);
  }
  std::erase_if(changes_, [&](const Change& change) {
    return change.outcome.has_value() &&
           (change.asker != 0 || now - change.asked_ns > limit + kForgetNs);
  });
}

void Fleet::TellOutcome(const Change& change) {
  FleetProcess* const asker = Find(change.asker);
  if (asker == nullptr) return;
  ToProcess message;
  ModelChanged* changed = message.mutable_model_changed();
  changed->set_request(change.change.request());
  changed->set_code(static_cast<int>(change.outcome->code()));
  changed->set_message(std::string(change.outcome->message()));
  changed->set_generation(change.generation);
  Send(asker, message);
}

}  // namespace millrace
