// What a client saw of each of its requests, and whether that is what it was promised.
//
// Purpose: the checker of the chaos test. It knows nothing of the server and nothing of the load
//   generator but the lines that this writes as it sends and receives (tools/load/history_file.h).
// Who may call: tests. Ownership: none.
// Invariants (violations otherwise):
//   1. Each request that was sent has exactly one end, and that comes after it was sent; nothing
//      ends that was not sent, and nothing happens to a request after its end.
//   2. Its end is the right answer or one of the codes that are documented for what was done to the
//      server. Another answer than the right one is never documented.
//   3. Tries end before the next one begins, and only with codes that say "ask again": a
//      connection that broke (its ingress died), a server that was not there.
//   4. A try ends within its deadline and `most_late_ns`, and of all of them `share_in_time` within
//      their deadline and `late_ns`. A client that asks again gives each try the deadline anew:
//      what a dead ingress had in hand is the client's to repeat.
// What fails: CheckHistory tells violations; a file that cannot be read or parsed is one.
#pragma once

#include <stdint.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

struct HistoryRules {
  int64_t deadline_ns = 0;
  int64_t late_ns = 50'000'000;
  int64_t most_late_ns = 500'000'000;
  double share_in_time = 0.999;
  std::set<std::string> documented = {"OK"};  // of a request's end
  std::set<std::string> repeatable;           // of a try's end
};

struct HistoryReport {
  int64_t requests = 0;
  int64_t ok = 0;
  int64_t tries = 0;
  int64_t late = 0;                     // tries that ended after deadline and late_ns
  int64_t worst_late_ns = 0;            // of a try, after its deadline; negative: none was late
  std::vector<std::string> violations;  // of 1 to 3, the first ones
  std::vector<std::string> late_violations;  // of 4
};

HistoryReport CheckHistory(std::string_view text, const HistoryRules& rules);
HistoryReport CheckHistoryFile(const std::string& path, const HistoryRules& rules);

}  // namespace millrace
