// Fleet: what is owed on the versions that are served, for whoever lists it.
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr int kMostShown = 250;  // a message to the observer has room for
constexpr int64_t kAgainS = 60;  // versions grow older

}  // namespace

Behind Fleet::behind() const {
  Behind behind;
  for (const auto& [key, process] : processes_) {
    if (process.stage != Stage::kExecution || process.state != ProcessState::kReady) continue;
    ++behind.workers;
    // All of a server's workers share its one device.
    if (process.device.has_value() && process.device->state() == "ready") behind.devices = 1;
  }
  return behind;
}

// A view goes out some times a second, and what is owed seldom changes.
void Fleet::AddDebts(FleetView* view) {
  const Behind now = behind();
  const std::vector<uint64_t> of = {desk_.generation(), now.workers, now.devices,
                                    static_cast<uint64_t>(hands_->WallSeconds() / kAgainS)};
  if (of != debts_of_) {
    debts_of_ = of;
    debts_.Clear();
    const DebtLimits limits = {setup_.config.max_age_days, setup_.config.max_untagged_percent};
    for (const DebtItem& item : DebtOf(desk_.catalog(), limits, now, hands_->WallSeconds())) {
      if (debts_.debts_size() == kMostShown) {
        debts_.set_debts_left_off(debts_.debts_left_off() + 1);
        continue;
      }
      FleetView::Debt* const debt = debts_.add_debts();
      debt->set_kind(std::string(DebtKindName(item.kind)));
      debt->set_model(item.model);
      debt->set_version(item.version);
      debt->set_owner(item.owner);
      debt->set_sentence(item.sentence);
      debt->set_since_s(item.since_s);
    }
  }
  view->MergeFrom(debts_);
}

}  // namespace millrace
