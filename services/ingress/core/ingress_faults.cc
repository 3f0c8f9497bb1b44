#include "services/ingress/core/ingress_faults.h"

#include <bit>

#include "common/client_id.h"

namespace millrace {

std::unique_ptr<IngressFaults> IngressFaults::Make(const Config& config) {
  std::unique_ptr<FaultPlan> plan = FaultPlan::Make(config, Stage::kIngress);
  if (plan == nullptr) return nullptr;
  return std::unique_ptr<IngressFaults>(new IngressFaults(std::move(plan)));
}

IngressFaults::IngressFaults(std::unique_ptr<FaultPlan> plan)
    : plan_(std::move(plan)), active_(plan_->size()) {}

int IngressFaults::Holder(FaultKind kind, const FaultSubject& subject) const {
  for (uint32_t left = plan_->Befalling(kind, subject); left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    if (plan_->rule(i).max_active == 0 || active_[i] < plan_->rule(i).max_active) return i;
  }
  return -1;
}

FaultVerdict IngressFaults::Meet(const InferRequest& request, int64_t now_ns, Page* page) {
  ++requests_;
  FaultVerdict verdict;
  verdict.key = request.id.empty() ? requests_ : HashClientId(request.id);
  verdict.asked = plan_->Asked(request.fault);
  const FaultSubject subject = {verdict.key, verdict.asked, true, plan_->OfName(request.model)};
  plan_->CrashOrHang(subject, page);
  if (plan_->Befalls(FaultKind::kError, subject, page)) {
    verdict.status = absl::UnavailableError("a fault on purpose");
  } else if (plan_->Befalls(FaultKind::kNoMemory, subject, page)) {
    verdict.status = absl::UnavailableError("no memory for a request of this size now");
  } else if (const int loss = Holder(FaultKind::kLoss, subject); loss >= 0) {
    page->Add(Counter::kInjected);
    verdict.rule = loss;
    verdict.hold_until_ns = INT64_MAX;
  } else if (const int delay = Holder(FaultKind::kDelay, subject); delay >= 0) {
    page->Add(Counter::kInjected);
    verdict.rule = delay;
    verdict.hold_until_ns = now_ns + plan_->rule(delay).delay_ns;
  }
  return verdict;
}

void IngressFaults::Hold(uint16_t slot, uint32_t sequence, const FaultVerdict& verdict) {
  ++active_[verdict.rule];
  held_.push_back({slot, sequence, verdict.rule, verdict.hold_until_ns});
}

}  // namespace millrace
