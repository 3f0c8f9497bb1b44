#include "services/supervisor/load_sampler.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/clock.h"
#include "ipc/fd.h"

namespace millrace {
namespace {

constexpr size_t kMostBytes = 256 << 10;  // /proc/stat of a machine with 1024 CPUs

// Empty where it cannot be read.
std::string ReadFile(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  if (!file.valid()) return text;
  char chunk[4096];
  for (ssize_t n; text.size() < kMostBytes && (n = read(file.get(), chunk, sizeof chunk)) > 0;) {
    text.append(chunk, static_cast<size_t>(n));
  }
  return text;
}

double Seconds(int64_t ticks) {
  static const double per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  return static_cast<double>(ticks) / per_second;
}

}  // namespace

std::optional<double> LoadSampler::BusySeconds() const {
  const std::string text = ReadFile(proc_ + "/stat");
  int64_t ticks = 0;
  size_t found = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    // Not the sum of all, "cpu  1 2 3".
    if (line.size() < 4 || line[3] < '0' || line[3] > '9') continue;
    int cpu = 0;
    long long user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
    if (sscanf(std::string(line).c_str(), "cpu%d %lld %lld %lld %lld %lld %lld %lld", &cpu, &user,
               &nice, &system, &idle, &iowait, &irq, &softirq) != 8) {
      continue;
    }
    if (!std::binary_search(cpus_.begin(), cpus_.end(), cpu)) continue;
    ++found;
    ticks += user + nice + system + irq + softirq;
  }
  if (found == 0) return std::nullopt;
  return Seconds(ticks);
}

// Of a process and of the children it has waited for; 0 where it is gone.
double LoadSampler::SecondsOf(pid_t pid) const {
  const std::string text = ReadFile(absl::StrCat(proc_, "/", pid, "/stat"));
  const size_t after_name = text.rfind(')');  // the name may hold anything
  long long user = 0, system = 0, child_user = 0, child_system = 0;
  if (after_name == std::string::npos ||
      sscanf(text.c_str() + after_name + 1,
             " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld %lld %lld", &user, &system,
             &child_user, &child_system) != 4) {
    return 0;
  }
  return Seconds(user + system + child_user + child_system);
}

std::optional<LoadLook> LoadSampler::Sample(const std::vector<pid_t>& ours, int64_t now_ns) {
  const std::optional<double> busy_s = BusySeconds();
  if (!busy_s.has_value()) return std::nullopt;
  Counts now{now_ns, *busy_s, 0};
  for (pid_t pid : ours) now.ours_s += SecondsOf(pid);
  const std::optional<Counts> last = std::exchange(last_, now);
  if (!last.has_value() || now.at_ns <= last->at_ns) return std::nullopt;
  const double seconds = static_cast<double>(now.at_ns - last->at_ns) / kNanosPerSecond;
  const double foreign_s = (now.busy_s - last->busy_s) - (now.ours_s - last->ours_s);
  return LoadLook{std::max(0.0, foreign_s / seconds)};
}

namespace {

// "max 100000" or "150000 100000" (v2).
std::optional<double> Ratio(const std::string& quota, const std::string& period) {
  const double used = atof(quota.c_str()), of = atof(period.c_str());
  if (used <= 0 || of <= 0) return std::nullopt;  // "max", or v1's -1
  return used / of;
}

std::optional<double> LimitOf(const std::string& folder) {
  const std::string v2 = ReadFile(folder + "/cpu.max");
  if (!v2.empty()) return Ratio(v2, v2.substr(std::min(v2.find(' '), v2.size())));
  return Ratio(ReadFile(folder + "/cpu.cfs_quota_us"), ReadFile(folder + "/cpu.cfs_period_us"));
}

// The least limit of the folder `path` below `root` and of those above it.
std::optional<double> LeastLimit(const std::string& root, std::string path) {
  std::optional<double> least;
  while (true) {
    if (const std::optional<double> limit = LimitOf(root + path)) {
      least = std::min(least.value_or(*limit), *limit);
    }
    if (path.empty()) return least;
    path.resize(path.rfind('/'));
  }
}

}  // namespace

std::optional<double> CgroupCores(const std::string& root, const std::string& self) {
  std::optional<double> least;
  for (absl::string_view line : absl::StrSplit(ReadFile(self), '\n')) {
    // "4:cpu,cpuacct:/path" (v1), "0::/path" (v2).
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3 || parts[2].empty() || parts[2][0] != '/') continue;
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
    const bool v1 = std::find(controllers.begin(), controllers.end(), "cpu") != controllers.end();
    if (!v1 && !parts[1].empty()) continue;
    const std::string path = parts[2] == "/" ? "" : parts[2];
    const std::optional<double> limit = LeastLimit(v1 ? root + "/cpu" : root, path);
    if (limit.has_value()) least = std::min(least.value_or(*limit), *limit);
  }
  return least;
}

}  // namespace millrace
