#include "services/supervisor/incident_desk.h"

#include <algorithm>

#include "common/log.h"

namespace millrace {
namespace {

void Cut(std::string* text) { text->resize(std::min(text->size(), IncidentDesk::kMaxText)); }

}  // namespace

std::string_view IncidentDesk::StateName(uint32_t state) {
  constexpr std::string_view kNames[] = {"closed", "open", "half_open"};
  return kNames[std::min<uint32_t>(state, 2)];
}

void IncidentDesk::Add(Quarantined record) {
  Cut(record.mutable_model());
  Cut(record.mutable_version());
  if (record.tensors_size() > kMaxParts) {
    record.mutable_tensors()->DeleteSubrange(kMaxParts, record.tensors_size() - kMaxParts);
  }
  if (record.deaths_size() > kMaxParts) {
    record.mutable_deaths()->DeleteSubrange(kMaxParts, record.deaths_size() - kMaxParts);
  }
  Log(LogLevel::kError, "request_poisoned",
      {{"model", record.model()}, {"version", record.version()}, {"rows", record.rows()}});
  ++poisoned_;
  if (quarantine_.size() == kMost) quarantine_.pop_front();
  quarantine_.push_back(std::move(record));
}

void IncidentDesk::Add(BreakerChanged change, uint32_t process) {
  Cut(change.mutable_model());
  Cut(change.mutable_version());
  Log(LogLevel::kWarning, "breaker",
      {{"model", change.model()},
       {"version", change.version()},
       {"state", StateName(change.state())},
       {"deaths", change.deaths()}});
  const Key key = {change.incarnation(), change.model(), change.version()};
  if (change.state() == 0) {
    breakers_.erase(key);
  } else if (breakers_.size() < kMostBreakers || breakers_.count(key) > 0) {
    breakers_[key] = {process, std::move(change)};
  }
}

void IncidentDesk::Ended(uint32_t process) {
  std::erase_if(breakers_, [&](const auto& entry) { return entry.second.process == process; });
}

}  // namespace millrace
