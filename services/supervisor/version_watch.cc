#include "services/supervisor/version_watch.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "ipc/stats.h"
#include "ipc/topology.h"

namespace millrace {

absl::Status VersionWatch::Set(const WatchVersions& watch) {
  std::vector<std::pair<std::string, std::string>> versions;
  for (const WatchVersions::Version& one : watch.versions()) {
    versions.emplace_back(one.model(), one.version());
  }
  const std::set<std::pair<std::string, std::string>> distinct(versions.begin(), versions.end());
  if (versions.size() > kMost || distinct.size() != versions.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("watches ", versions.size(), " versions; up to ", kMost, ", each once"));
  }
  versions_ = std::move(versions);
  return absl::OkStatus();
}

VersionStatistics VersionWatch::Sum(const StatsCarry& carry, absl::Span<const Page* const> pages,
                                    int64_t now_ns) const {
  VersionStatistics statistics;
  statistics.set_taken_ns(now_ns);
  for (const auto& [model, version] : versions_) {
    VersionStatistics::Version* one = statistics.add_versions();
    one->set_model(model);
    one->set_version(version);
    std::vector<uint64_t> words(kStatsWords);
    if (const std::vector<uint64_t>* carried = carry.Find(Stage::kIngress, model, version)) {
      std::copy_n(carried->begin(), std::min(carried->size(), words.size()), words.begin());
    }
    for (const Page* page : pages) {
      for (size_t slot = 1; slot < kMaxStatsModels; ++slot) {
        const ModelName name = ReadModelName(page->stats, slot);
        if (name.model.empty()) break;  // slots are given out in order
        if (name.model != model || name.version != version) continue;
        const ModelStatsWords& counted = page->stats.models[slot];
        for (size_t i = 0; i < words.size(); ++i) words[i] += counted.words[i].Get();
      }
    }
    one->mutable_words()->Add(words.begin(), words.end());
  }
  return statistics;
}

}  // namespace millrace
