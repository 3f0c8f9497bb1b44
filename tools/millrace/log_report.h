// A line of /api/logs as text, and which lines were shown already.
//
// Purpose: what `millrace logs` prints. Who may call: one thread. Ownership: values.
// Invariant: a line is new once, though an observer that was replaced gives lines of living
//   processes again: they are known by process, pid and their number there.
// Nothing fails: what is missing is left out.
#pragma once

#include <stdint.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace millrace {

class LogReport {
 public:
  // Whether this line was not asked about before; lines of a process come in their order.
  bool IsNew(const nlohmann::json& line);

 private:
  std::map<std::pair<std::string, int64_t>, int64_t> last_;  // number, by process and pid
};

// "2026-11-26T10:00:00.123456Z warning supervisor worker_ended name=execution0 signal=9"
std::string LogText(const nlohmann::json& line);

}  // namespace millrace
