#include "tools/bench/subjects/paused_server.h"

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

namespace millrace {
namespace {

struct Stat {
  char state = 0;
  pid_t session = 0;
  uint64_t started_ticks = 0;
};

// Of /proc/PID/stat (proc(5)); nothing of a process that is gone.
Stat ReadStat(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t name_ends = text.rfind(')');  // the name may hold anything
  if (name_ends == std::string::npos) return {};
  std::istringstream fields(text.substr(name_ends + 1));
  Stat stat;
  pid_t parent = 0, group = 0;
  fields >> stat.state >> parent >> group >> stat.session;
  std::string skipped;
  for (int field = 7; field < 22; ++field) fields >> skipped;
  fields >> stat.started_ticks;
  return stat;
}

bool Stopped(pid_t pid) {
  const char state = ReadStat(pid).state;
  return state == 'T' || state == 'Z' || state == 0;
}

}  // namespace

std::vector<pid_t> ProcessesOfSession(pid_t session) {
  std::vector<std::pair<uint64_t, pid_t>> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    const Stat stat = ReadStat(pid);
    if (stat.session == session) found.emplace_back(stat.started_ticks, pid);
  }
  std::sort(found.begin(), found.end());
  std::vector<pid_t> pids;
  for (const auto& [ticks, pid] : found) pids.push_back(pid);
  return pids;
}

void PausedServer::Pause() const {
  for (const pid_t pid : ProcessesOfSession(session_)) {
    kill(pid, SIGSTOP);
    while (!Stopped(pid)) {
      const timespec moment = {0, 100'000};
      nanosleep(&moment, nullptr);
    }
  }
}

void PausedServer::Resume() const {
  std::vector<pid_t> pids = ProcessesOfSession(session_);
  std::reverse(pids.begin(), pids.end());
  for (const pid_t pid : pids) kill(pid, SIGCONT);
}

}  // namespace millrace
