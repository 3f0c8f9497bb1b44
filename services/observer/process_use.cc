#include "services/observer/process_use.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

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

std::optional<double> RunDelays::Read(pid_t pid) {
  // While it is read, too: an older look must not follow a newer one.
  std::lock_guard<std::mutex> lock(mutex_);
  std::map<pid_t, uint64_t> threads;
  std::error_code error;
  const std::string tasks = proc_ + "/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    uint64_t ran_ns = 0, waited_ns = 0;
    std::ifstream file(task.path() / "schedstat");
    if (!(file >> ran_ns >> waited_ns)) continue;
    threads[static_cast<pid_t>(atoi(task.path().filename().c_str()))] = waited_ns;
  }
  if (threads.empty()) return std::nullopt;
  if (processes_.size() >= kMostProcesses && processes_.count(pid) == 0) processes_.clear();
  OfProcess& process = processes_[pid];
  for (auto& [tid, before_ns] : process.threads) {
    const auto now = threads.find(tid);
    // Less than before: another thread under an old number.
    if (now == threads.end() || now->second < before_ns) process.ended_ns += before_ns;
  }
  process.threads = std::move(threads);
  uint64_t sum_ns = process.ended_ns;
  for (const auto& [tid, waited_ns] : process.threads) sum_ns += waited_ns;
  return static_cast<double>(sum_ns) * 1e-9;
}

std::optional<ProcessUse> RunDelays::UseOf(pid_t pid) {
  std::optional<ProcessUse> use = millrace::UseOf(pid, proc_);
  if (use.has_value()) use->run_delay_seconds = Read(pid);
  return use;
}

}  // namespace millrace
