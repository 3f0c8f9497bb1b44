#include "services/observer/process_use.h"

#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>

namespace millrace {
namespace {

// Fields of /proc/PID/stat, counted from the one behind the name (field 3).
constexpr size_t kUserTicks = 11;
constexpr size_t kSystemTicks = 12;
constexpr size_t kThreads = 17;
constexpr size_t kResidentPages = 21;

}  // namespace

std::optional<ProcessUse> UseOf(pid_t pid, const std::string& proc) {
  std::ifstream file(proc + "/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t name_end = text.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  uint64_t numbers[kResidentPages + 1] = {};
  std::string word;
  for (size_t i = 0; i <= kResidentPages; ++i) {
    if (!(fields >> word)) return std::nullopt;
    numbers[i] = strtoull(word.c_str(), nullptr, 10);
  }
  ProcessUse use;
  use.cpu_seconds = static_cast<double>(numbers[kUserTicks] + numbers[kSystemTicks]) /
                    static_cast<double>(sysconf(_SC_CLK_TCK));
  use.threads = numbers[kThreads];
  use.resident_bytes = numbers[kResidentPages] * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return use;
}

}  // namespace millrace
