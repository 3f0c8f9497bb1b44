#include "ipc/model_debt.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

constexpr int64_t kDaySeconds = 86'400;

const ModelWeights* WeightsOf(const Catalog& catalog, const Model& model) {
  for (const ModelWeights& weights : catalog.weights()) {
    if (weights.model() == model.name() && weights.version() == model.version()) return &weights;
  }
  return nullptr;
}

// Of one version.
class Judge {
 public:
  Judge(const Catalog& catalog, const Model& model, const DebtLimits& limits,
        std::vector<DebtItem>* items)
      : catalog_(catalog), model_(model), limits_(limits), items_(*items) {}

  void Run(const Behind& behind, int64_t now_s) {
    Age(now_s);
    Tags();
    Signature();
    Pin();
    if (behind.workers == 1) Owe(DebtKind::kOneWorker, "one execution worker is behind it");
    if (behind.devices == 1) Owe(DebtKind::kOneDevice, "one device is behind it");
  }

 private:
  void Owe(DebtKind kind, std::string sentence, int64_t since_s = 0) {
    items_.push_back({kind, model_.name(), model_.version(), model_.provenance().owner(),
                      std::move(sentence), since_s});
  }
  int64_t MadeS() const {
    const ModelWeights* const weights = WeightsOf(catalog_, model_);
    return weights == nullptr ? 0 : weights->made_s();
  }

  void Age(int64_t now_s) {
    if (!IsReadOnly(catalog_, model_, limits_, now_s)) return;
    const bool of_file = WeightsOf(catalog_, model_)->of_file();
    Owe(DebtKind::kOldWeights,
        absl::StrCat("its weights are ", WeightsAgeDays(catalog_, model_, now_s), " days old",
                     of_file ? " by the time of their file" : "", ", more than ",
                     limits_.max_age_days, ": it is read-only"),
        MadeS() + (limits_.max_age_days + 1) * kDaySeconds);
  }

  void Tags() {
    int64_t fields = model_.provenance().fields();
    if (!model_.has_provenance() && model_.inputs_size() > 0) fields = model_.inputs(0).dims(0);
    const int64_t untagged =
        fields - std::min<int64_t>(fields, model_.provenance().tagged_fields());
    if (untagged * 100 <= fields * limits_.max_untagged_percent) return;
    Owe(DebtKind::kUntagged,
        absl::StrCat(untagged, " of ", fields, " inputs have no data-protection tag, more than ",
                     limits_.max_untagged_percent, " %"),
        MadeS());
  }

  void Signature() {
    if (!model_.has_provenance()) return Owe(DebtKind::kUnsigned, "it has no manifest", MadeS());
    if (model_.provenance().signed_by().empty()) {
      Owe(DebtKind::kUnsigned, "its manifest is not signed by a key that is trusted", MadeS());
    }
  }

  // A file that has no hash may be another tomorrow; so may what "the newest" means.
  void Pin() {
    const ModelWeights* const weights = WeightsOf(catalog_, model_);
    if (!model_.has_provenance()) {
      return Owe(DebtKind::kUnpinned, "no manifest says what its files' hashes are", MadeS());
    }
    if (weights == nullptr || weights->pinned()) return;
    Owe(DebtKind::kUnpinned, "its version_policy names no version: the next one takes its place",
        MadeS());
  }

  const Catalog& catalog_;
  const Model& model_;
  const DebtLimits& limits_;
  std::vector<DebtItem>& items_;
};

}  // namespace

std::string_view DebtKindName(DebtKind kind) {
  constexpr std::string_view kNames[] = {"old_weights", "untagged",   "unsigned",
                                         "unpinned",    "one_worker", "one_device"};
  return kNames[static_cast<size_t>(kind)];
}

int64_t WeightsAgeDays(const Catalog& catalog, const Model& model, int64_t now_s) {
  const ModelWeights* const weights = WeightsOf(catalog, model);
  if (weights == nullptr || weights->made_s() == 0) return -1;
  return std::max<int64_t>(0, now_s - weights->made_s()) / kDaySeconds;
}

bool IsReadOnly(const Catalog& catalog, const Model& model, const DebtLimits& limits,
                int64_t now_s) {
  return limits.max_age_days > 0 && WeightsAgeDays(catalog, model, now_s) > limits.max_age_days;
}

std::vector<DebtItem> DebtOf(const Catalog& catalog, const DebtLimits& limits, const Behind& behind,
                             int64_t now_s) {
  std::vector<DebtItem> items;
  for (const Model& model : catalog.models()) {
    Judge(catalog, model, limits, &items).Run(behind, now_s);
  }
  return items;
}

}  // namespace millrace
