#include "services/supervisor/golden_report.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "ipc/page.h"

namespace millrace {
namespace {

using nlohmann::json;

const GoldenWords::Model* Find(const GoldenWords& words, uint32_t route) {
  const size_t count = std::min<size_t>(words.count.Get(), GoldenWords::kMaxModels);
  for (size_t i = 0; i < count; ++i) {
    if (words.models[i].route.Get() == route) return &words.models[i];
  }
  return nullptr;
}

std::string FailureText(uint64_t failure) {
  const auto code = static_cast<absl::StatusCode>(failure >> 8 & 0xff);
  switch (static_cast<GoldenFailure>(failure & 0xff)) {
    case GoldenFailure::kWrong:
      return "another answer than expected";
    case GoldenFailure::kError:
      return absl::StrCat("answered ", absl::StatusCodeToString(code));
    case GoldenFailure::kLate:
      return "no answer for a probe period";
    default:
      return "unknown";
  }
}

int64_t AgeMs(int64_t then_ns, int64_t now_ns) {
  return std::max<int64_t>(0, now_ns - then_ns) / kNanosPerMilli;
}

}  // namespace

std::vector<const GoldenWords*> GoldenWordsOf(
    const Fleet& fleet, const std::function<const Page*(uint32_t incarnation)>& page_of) {
  std::vector<const GoldenWords*> lanes;
  for (const auto& [key, process] : fleet.processes()) {
    if (process.stage != Stage::kIngress || process.state != ProcessState::kReady) continue;
    for (const FleetLane& lane : process.lanes) {
      const Page* page = page_of(lane.incarnation);
      if (page != nullptr && page->golden.ready_until_ns.Get() != 0) lanes.push_back(&page->golden);
    }
  }
  return lanes;
}

bool GoldenReady(const std::vector<const GoldenWords*>& lanes, int64_t now_ns) {
  return std::all_of(lanes.begin(), lanes.end(), [&](const GoldenWords* words) {
    return now_ns <= static_cast<int64_t>(words->ready_until_ns.Get());
  });
}

json GoldenReport(const std::vector<const GoldenWords*>& lanes, const Model& model,
                  int64_t now_ns) {
  bool ready = true;
  int64_t oldest_ns = INT64_MAX, failed_ns = 0;
  uint64_t failure = 0;
  for (const GoldenWords* words : lanes) {
    const GoldenWords::Model* found = Find(*words, model.route());
    if (found == nullptr) continue;
    ready = ready && now_ns <= static_cast<int64_t>(found->good_until_ns.Get());
    oldest_ns = std::min<int64_t>(oldest_ns, found->good_ns.Get());
    const auto then_ns = static_cast<int64_t>(found->failure_ns.Get());
    if (then_ns <= failed_ns) continue;
    failed_ns = then_ns;
    failure = found->failure.Get();
  }
  const bool answered = oldest_ns != 0 && oldest_ns != INT64_MAX;
  json report = {{"ready", ready && oldest_ns != INT64_MAX}};
  report["age_ms"] = answered ? json(AgeMs(oldest_ns, now_ns)) : json();
  report["last_failure"] = failed_ns == 0 ? json() : json(FailureText(failure));
  report["last_failure_age_ms"] = failed_ns == 0 ? json() : json(AgeMs(failed_ns, now_ns));
  return report;
}

}  // namespace millrace
