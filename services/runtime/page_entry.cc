#include "services/runtime/page_entry.h"

namespace millrace {

void PageEntry::Step() {
  while (!waiting_.empty()) {
    Part& part = waiting_.front();
    const std::shared_ptr<const void> owner = part.owner.lock();
    if (owner == nullptr || part.entered >= part.region->size()) {
      waiting_.pop_front();
      continue;
    }
    part.region->Enter(part.entered, kStepBytes);
    part.entered += kStepBytes;
    return;
  }
}

}  // namespace millrace
