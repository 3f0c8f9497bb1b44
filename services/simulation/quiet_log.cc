// What the product logs in a world goes to the trace, where there is one, and nowhere else.
//
// The programs of this folder are linked with --wrap of millrace::Log; this is the name that its
// callers then find.
#include <string>

#include "common/log.h"
#include "services/simulation/history.h"

namespace millrace::sim {

void WrappedLog(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) __asm__(
    "__wrap__ZN8millrace3LogENS_8LogLevelESt17basic_string_viewIcSt11char_traitsIcEE"
    "St16initializer_listINS_8LogFieldEE");

void WrappedLog(LogLevel, std::string_view event, std::initializer_list<LogField> fields) {
  const History* history = History::current();
  if (history == nullptr || !history->trace()) return;
  std::string line = "log: ";
  line += event;
  for (const LogField& field : fields) {
    line += " ";
    line += field.key;
    line += "=";
    line += field.value;
  }
  history->Say(line);
}

}  // namespace millrace::sim
