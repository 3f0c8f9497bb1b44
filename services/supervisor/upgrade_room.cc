#include "services/supervisor/upgrade_room.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

constexpr uint64_t kKilo = 1024;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The number behind `key` at the begin of a line; nothing: it does not stand there.
std::optional<uint64_t> NumberAfter(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(key, 0) != 0) continue;
    std::istringstream rest(line.substr(key.size()));
    uint64_t number = 0;
    if (rest >> number) return number;
  }
  return std::nullopt;
}

std::optional<uint64_t> WholeNumber(const std::string& path) {
  uint64_t number = 0;
  if (!absl::SimpleAtoi(ReadAll(path), &number)) return std::nullopt;  // "max": no limit
  return number;
}

// What a group may still take; its file cache that is not in use can be dropped.
std::optional<uint64_t> LeftIn(const std::string& folder) {
  const std::optional<uint64_t> limit = WholeNumber(folder + "/memory.max");
  const std::optional<uint64_t> used = WholeNumber(folder + "/memory.current");
  if (!limit.has_value() || !used.has_value()) return std::nullopt;
  const uint64_t cache =
      NumberAfter(ReadAll(folder + "/memory.stat"), "inactive_file ").value_or(0);
  const uint64_t held = *used - std::min(*used, cache);
  return *limit - std::min(*limit, held);
}

uint64_t Megabytes(uint64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; }

}  // namespace

absl::Status CheckRoom(const RoomUse& use, const RoomLeft& left) {
  const uint64_t needed = use.shared_bytes + use.plan_bytes + use.private_bytes;
  const std::string needs = absl::StrCat(
      "the new build would need about ", Megabytes(needed), " MB beside the present one (shared ",
      Megabytes(use.shared_bytes), ", models ", Megabytes(use.plan_bytes), ", private ",
      Megabytes(use.private_bytes), "), and ");
  if (left.machine_bytes.has_value() && *left.machine_bytes < needed) {
    return absl::ResourceExhaustedError(
        absl::StrCat(needs, "the machine has ", Megabytes(*left.machine_bytes), " MB available"));
  }
  if (left.group_bytes.has_value() && *left.group_bytes < needed) {
    return absl::ResourceExhaustedError(absl::StrCat(needs, "the control group ", left.group,
                                                     " has ", Megabytes(*left.group_bytes),
                                                     " MB left"));
  }
  const uint64_t both = 2 * (use.shared_bytes + use.plan_bytes);
  if (both > left.budget_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(needs, "shared memory and models of both, ", Megabytes(both),
                     " MB, pass supervisor.memory_budget_mb, ", Megabytes(left.budget_bytes)));
  }
  return absl::OkStatus();
}

uint64_t PrivateBytes(const std::string& proc, const std::vector<pid_t>& pids) {
  uint64_t sum = 0;
  for (pid_t pid : pids) {
    const std::string status = ReadAll(absl::StrCat(proc, "/", pid, "/status"));
    sum += NumberAfter(status, "RssAnon:").value_or(0) * kKilo;
  }
  return sum;
}

RoomLeft LookForRoom(const std::string& proc, const std::string& groups) {
  RoomLeft left;
  left.machine_bytes = NumberAfter(ReadAll(proc + "/meminfo"), "MemAvailable:");
  if (left.machine_bytes.has_value()) *left.machine_bytes *= kKilo;
  std::istringstream lines(ReadAll(proc + "/self/cgroup"));
  std::string path;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("0::/", 0) == 0) path = line.substr(3);
  }
  // From our own group up: each one's limit counts for all below it.
  while (!path.empty()) {
    const std::string name = path == "/" ? "" : path;
    const std::optional<uint64_t> bytes = LeftIn(groups + name);
    if (bytes.has_value() && (!left.group_bytes.has_value() || *bytes < *left.group_bytes)) {
      left.group_bytes = bytes;
      left.group = name.empty() ? "/" : name;
    }
    if (name.empty()) break;
    path = path.substr(0, path.rfind('/'));
    if (path.empty()) path = "/";
  }
  return left;
}

}  // namespace millrace
