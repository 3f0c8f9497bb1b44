#include "services/simulation/scheduler.h"

#include <algorithm>
#include <utility>

#include "services/simulation/virtual_time.h"

namespace millrace::sim {

void Scheduler::At(int64_t when_ns, std::function<void()> action) {
  heap_.push_back({std::max(when_ns, VirtualTime::now_ns()), random_->Next(), std::move(action)});
  std::push_heap(heap_.begin(), heap_.end(), Later);
}

void Scheduler::In(int64_t delay_ns, std::function<void()> action) {
  At(VirtualTime::now_ns() + delay_ns, std::move(action));
}

bool Scheduler::RunNext() {
  if (heap_.empty()) return false;
  std::pop_heap(heap_.begin(), heap_.end(), Later);
  Entry entry = std::move(heap_.back());
  heap_.pop_back();
  VirtualTime::Set(entry.when_ns);
  entry.action();
  return true;
}

}  // namespace millrace::sim
