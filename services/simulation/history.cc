#include "services/simulation/history.h"

#include <inttypes.h>
#include <stdio.h>

#include "services/simulation/virtual_time.h"

namespace millrace::sim {

const History* History::current_ = nullptr;

void History::Note(std::string_view what, uint64_t a, uint64_t b, uint64_t c) {
  ++events_;
  Add(static_cast<uint64_t>(VirtualTime::now_ns()));
  for (char letter : what) Add(static_cast<uint8_t>(letter));
  Add(a);
  Add(b);
  Add(c);
  if (!trace_) return;
  printf("%14.6f ms  %-16.*s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 "\n",
         static_cast<double>(VirtualTime::now_ns()) / 1e6, static_cast<int>(what.size()),
         what.data(), a, b, c);
}

void History::Say(std::string_view text) const {
  if (!trace_) return;
  printf("%14.6f ms  %.*s\n", static_cast<double>(VirtualTime::now_ns()) / 1e6,
         static_cast<int>(text.size()), text.data());
}

void History::Violate(const std::string& sentence) {
  if (trace_) printf("VIOLATED: %s\n", sentence.c_str());
  if (violation_.empty()) violation_ = sentence;
}

}  // namespace millrace::sim
