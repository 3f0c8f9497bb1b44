#include "services/supervisor/placement.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/mempolicy.h>
#include <pwd.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "services/supervisor/huge_pages.h"

namespace millrace {
namespace {

constexpr uint32_t kFormerGroups = 8;  // looked at, to be removed
constexpr int kMaxNodes = 1024;        // bits of the mask that set_mempolicy gets
constexpr size_t kBitsAWord = 8 * sizeof(unsigned long);

// The fields of a stage.
struct Row {
  Stage stage;
  std::string Config::*user;
  int64_t Config::*fifo_priority;
  int64_t Config::*numa_node;
  int64_t Config::*memory_limit_mb;
  std::string Config::*heap_profile;
};

constexpr Row kRows[] = {
    {Stage::kIngress, &Config::ingress_user, &Config::ingress_fifo_priority,
     &Config::ingress_numa_node, &Config::ingress_memory_limit_mb, &Config::ingress_heap_profile},
    {Stage::kFeatures, &Config::features_user, &Config::features_fifo_priority,
     &Config::features_numa_node, &Config::features_memory_limit_mb,
     &Config::features_heap_profile},
    {Stage::kExecution, &Config::execution_user, &Config::execution_fifo_priority,
     &Config::execution_numa_node, &Config::execution_memory_limit_mb,
     &Config::execution_heap_profile},
    {Stage::kAggregation, &Config::aggregation_user, &Config::aggregation_fifo_priority,
     &Config::aggregation_numa_node, &Config::aggregation_memory_limit_mb,
     &Config::aggregation_heap_profile},
    {Stage::kRegistry, &Config::registry_user, nullptr, nullptr, nullptr, nullptr},
    {Stage::kObserver, &Config::observer_user, nullptr, nullptr, nullptr, nullptr},
};

std::string Field(const Row& row, const char* name) {
  return absl::StrCat(std::string(StageName(row.stage)), ".", name);
}

// User and group of a name; empty: what went wrong, else nothing.
std::string FindUser(const std::string& name, ChildPlacement* place) {
  std::vector<char> buffer(1 << 14);
  passwd entry = {};
  passwd* found = nullptr;
  const int error = getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (error != 0) return absl::StrCat("user ", name, ": ", strerror(error));
  if (found == nullptr) return absl::StrCat("there is no user ", name);
  if (found->pw_uid != geteuid() && geteuid() != 0) {
    return "only a server that root starts can run a stage as another user";
  }
  place->has_user = found->pw_uid != geteuid();
  place->uid = found->pw_uid;
  place->gid = found->pw_gid;
  return "";
}

// Tries it on this thread for a moment; the same scheduler afterwards.
std::string TryFifo(int priority) {
  const int before = sched_getscheduler(0);
  sched_param old = {};
  sched_getparam(0, &old);
  sched_param wanted = {};
  wanted.sched_priority = priority;
  if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &wanted) != 0) {
    return absl::StrCat("SCHED_FIFO is not allowed here (", strerror(errno),
                        "); it takes CAP_SYS_NICE or RLIMIT_RTPRIO");
  }
  sched_setscheduler(0, before, &old);
  return "";
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

// The folder of our own control group; empty: no cgroup v2.
std::string OwnGroup(const PlacementRoots& roots) {
  const std::string text = ReadText(roots.own_group);
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StartsWith(line, "0::")) {
      return absl::StrCat(roots.groups, line.substr(3) == "/" ? "" : line.substr(3));
    }
  }
  return "";
}

std::string GroupsFault(const PlacementRoots& roots) {
  const std::string own = OwnGroup(roots);
  if (own.empty()) return "this machine has no cgroup v2";
  const std::string has = ReadText(own + "/cgroup.controllers");
  const std::vector<std::string> names = absl::StrSplit(has, absl::ByAnyChar(" \n"));
  if (std::find(names.begin(), names.end(), "memory") == names.end()) {
    return absl::StrCat("the server's control group ", own,
                        " has no memory controller (systemd: Delegate=memory)");
  }
  if (access((own + "/cgroup.subtree_control").c_str(), W_OK) != 0) {
    return absl::StrCat("the server's control group ", own,
                        " is not ours to divide: ", strerror(errno), " (systemd: Delegate=memory)");
  }
  return "";
}

absl::Status Write(const std::string& path, const std::string& text) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.valid() &&
      write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(path, ": ", strerror(errno)));
}

// Fills `place` as far as it can be without changing anything; appends what cannot be.
void Look(const Config& config, const Row& row, const PlacementRoots& roots, ChildPlacement* place,
          std::vector<std::string>* faults) {
  const auto fault = [&](const char* field, const std::string& sentence) {
    if (!sentence.empty()) faults->push_back(absl::StrCat(Field(row, field), ": ", sentence));
  };
  place->samples_heap = row.heap_profile != nullptr && config.*row.heap_profile == "true";
  if (const std::string& user = config.*row.user; !user.empty()) {
    fault("user", FindUser(user, place));
  }
  if (row.fifo_priority == nullptr) return;
  place->fifo_priority = static_cast<int>(config.*row.fifo_priority);
  if (place->fifo_priority > 0) fault("fifo_priority", TryFifo(place->fifo_priority));
  place->numa_node = static_cast<int>(config.*row.numa_node);
  if (place->numa_node >= 0) {
    const std::string node = absl::StrCat(roots.nodes, "/node", place->numa_node);
    if (access(node.c_str(), F_OK) != 0) {
      fault("numa_node", absl::StrCat("this machine has no node ", place->numa_node));
    }
  }
  if (config.*row.memory_limit_mb > 0) fault("memory_limit_mb", GroupsFault(roots));
}

}  // namespace

std::vector<std::string> Placer::Check(const Config& config, const PlacementRoots& roots) {
  std::vector<std::string> faults;
  for (const Row& row : kRows) {
    ChildPlacement place;
    Look(config, row, roots, &place, &faults);
  }
  if (const std::string fault = HugePagesFault(config, roots.huge_pages); !fault.empty()) {
    faults.push_back(fault);
  }
  return faults;
}

Placer::Made Placer::Make(const Config& config, const PlacementRoots& roots, uint32_t pipeline) {
  Made made;
  std::unique_ptr<Placer> placer(new Placer);
  for (const Row& row : kRows) {
    Look(config, row, roots, &placer->places_[static_cast<size_t>(row.stage)], &made.faults);
  }
  if (const std::string fault = HugePagesFault(config, roots.huge_pages); !fault.empty()) {
    made.faults.push_back(fault);
  }
  if (!made.faults.empty()) return made;
  if (const absl::Status status = placer->MakeGroups(config, roots, pipeline); !status.ok()) {
    made.faults.push_back(std::string(status.message()));
    return made;
  }
  made.placer = std::move(placer);
  return made;
}

// A group with processes of its own may not divide its memory (the kernel's rule), so the keeper
// and this process move into one of their own first.
absl::Status Placer::MakeGroups(const Config& config, const PlacementRoots& roots,
                                uint32_t pipeline) {
  const auto limited = [&](const Row& row) {
    return row.memory_limit_mb != nullptr && config.*row.memory_limit_mb > 0;
  };
  if (std::none_of(std::begin(kRows), std::end(kRows), limited)) return absl::OkStatus();
  std::string own = OwnGroup(roots);
  const std::string core = "/core";
  if (absl::EndsWith(own, core)) own.resize(own.size() - core.size());  // a supervisor before us
  const auto make = [](const std::string& path) {
    if (mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(path, ": ", strerror(errno)));
  };
  absl::Status status = make(own + core);
  for (const pid_t pid : {getppid(), getpid()}) {
    if (status.ok()) status = Write(own + core + "/cgroup.procs", absl::StrCat(pid));
  }
  if (status.ok()) status = Write(own + "/cgroup.subtree_control", "+memory");
  for (const Row& row : kRows) {
    if (!status.ok()) return status;
    if (!limited(row)) continue;
    const auto name = [&](uint32_t of) {
      const std::string stage(StageName(row.stage));
      return absl::StrCat(own, "/", stage, of == 0 ? "" : absl::StrCat(".", of));
    };
    // Of pipelines that have ended; one that has not keeps its group.
    for (uint32_t of = pipeline - std::min(pipeline, kFormerGroups); of < pipeline; ++of) {
      rmdir(name(of).c_str());
    }
    const std::string group = name(pipeline);
    status = make(group);
    if (!status.ok()) return status;
    const int64_t bytes = config.*row.memory_limit_mb << 20;
    status = Write(group + "/memory.max", absl::StrCat(bytes));
    groups_.emplace_back(open((group + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    places_[static_cast<size_t>(row.stage)].group_fd = groups_.back().get();
    if (!groups_.back().valid()) {
      return absl::FailedPreconditionError(absl::StrCat(group, ": ", strerror(errno)));
    }
  }
  return status;
}

bool Apply(const ChildPlacement& place) {
  if (place.group_fd >= 0 && write(place.group_fd, "0", 1) != 1) return false;
  if (place.numa_node >= 0) {
    unsigned long nodes[kMaxNodes / kBitsAWord] = {};
    const auto node = static_cast<size_t>(place.numa_node);
    nodes[node / kBitsAWord] |= 1ul << (node % kBitsAWord);
    if (syscall(SYS_set_mempolicy, MPOL_PREFERRED, nodes, kMaxNodes) != 0) return false;
  }
  if (place.fifo_priority > 0) {
    sched_param param = {};
    param.sched_priority = place.fifo_priority;
    if (sched_setscheduler(0, SCHED_FIFO, &param) != 0) return false;
  }
  if (!place.has_user) return true;
  return setgroups(0, nullptr) == 0 && setresgid(place.gid, place.gid, place.gid) == 0 &&
         setresuid(place.uid, place.uid, place.uid) == 0;
}

bool UsersAreSeparate(const Config& config) {
  std::set<uid_t> users;
  for (const Row& row : kRows) {
    ChildPlacement place;
    if (!FindUser(config.*row.user, &place).empty() || !place.has_user || place.uid == 0) {
      return false;
    }
    users.insert(place.uid);
  }
  return users.size() == std::size(kRows);
}

}  // namespace millrace
