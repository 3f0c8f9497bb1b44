#include "services/supervisor/idle_watch.h"

#include <algorithm>
#include <set>

#include "common/clock.h"
#include "ipc/stats.h"
#include "ipc/topology.h"

namespace millrace {
namespace {

template <typename Get>
uint64_t Requests(Get word) {
  uint64_t sum = 0;
  for (size_t code = 0; code < kStatsCodes; ++code) sum += word(StatsCodeAt(code));
  return sum;
}

}  // namespace

void IdleWatch::Look(const Catalog& catalog, const StatsCarry& carry,
                     absl::Span<const Page* const> pages, int64_t now_ns) {
  std::map<Name, uint64_t> sums;
  std::map<Name, size_t> named;
  size_t full = 0;  // pages that name no more
  for (const Page* page : pages) {
    size_t slot = 1;
    for (; slot < kMaxStatsModels; ++slot) {
      const ModelName name = ReadModelName(page->stats, slot);
      if (name.model.empty()) break;  // slots are given out in order
      const ModelStatsWords& counted = page->stats.models[slot];
      sums[{name.model, name.version}] +=
          Requests([&](size_t at) { return counted.words[at].Get(); });
      ++named[{name.model, name.version}];
    }
    full += slot == kMaxStatsModels;
  }
  std::map<Name, Seen> seen;
  for (const Model& model : catalog.models()) {
    const Name name = {model.name(), model.version()};
    uint64_t sum = sums[name];
    if (const std::vector<uint64_t>* of =
            carry.Find(Stage::kIngress, model.name(), model.version())) {
      sum += Requests([&](size_t at) { return at < of->size() ? (*of)[at] : 0; });
    }
    const auto before = seen_.find(name);
    Seen now = before == seen_.end() ? Seen{sum, now_ns, true} : before->second;
    if (now.requests != sum) now = {sum, now_ns, true};
    now.counted = full == 0 || named[name] == pages.size();
    seen[name] = now;
  }
  seen_ = std::move(seen);
}

void IdleWatch::AddTo(ModelUse* use, int64_t now_ns) const {
  for (const auto& [name, seen] : seen_) {
    if (!seen.counted) continue;
    ModelUse::Version* const version = use->add_versions();
    version->set_model(name.first);
    version->set_version(name.second);
    version->set_idle_ms((now_ns - seen.since_ns) / kNanosPerMilli);
  }
}

}  // namespace millrace
